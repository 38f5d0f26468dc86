// The signing room as recipients meet it: on a phone and at a desk, typed, drawn, by keyboard alone and without scripts.
// Read from standard input: { url, screenshots, links: { phone, desk, keyboard, plain, decline, voided, signed } }.
import { DESK, PHONE, SMALL_PHONE, asked, judged, must, run } from "./lib.mjs";

const COMPANY = "Kestrel & Söhne GmbH";
const at = (name) => asked.url + asked.links[name];

async function enter(page, name, shot) {
  await page.goto(at(name));
  if (shot) await judged(page, `${shot}-1-landing`);
  await page.locator("form[action$='/open'] button").click();
  await page.locator("input[name=agree]").waitFor();
  if (shot) await judged(page, `${shot}-2-consent`);
  await page.locator("input[name=agree]").check();
  await page.locator("form[action$='/consent'] button").click();
  await page.locator("#room").waitFor();
}

async function fill(page) {
  await page.locator("[name='value.client_name']").fill("Taro Yamada");
  await page.locator("[name='value.client_company']").fill(COMPANY);
  await page.locator("#saved", { hasText: /\S/ }).waitFor();
}

async function finish(page, shot) {
  await page.locator("#next").waitFor({ state: "hidden" });
  await judged(page, `${shot}-5-filled`);
  await page.locator("#finish").click();
  await page.waitForURL("**/done");
  await judged(page, `${shot}-6-done`);
  await page.getByText("the documents are sealed.").waitFor();
  await judged(page, `${shot}-7-sealed`);
}

async function typed(page) {
  await enter(page, "phone", "phone");
  await judged(page, "phone-3-document");
  const pictures = page.locator(".picture img");
  must((await pictures.count()) === 4, "four pages are shown");
  for (let i = 0; i < 4; i++) {
    await pictures.nth(i).scrollIntoViewIfNeeded();
    await page.waitForFunction((n) => { const img = document.querySelectorAll(".picture img")[n]; return img.complete && img.naturalWidth > 0; }, i);
  }
  await fill(page);
  await page.locator(".signbtn").tap();
  await page.locator("#pad").waitFor();
  await page.locator("#pad-text").fill("Taro Yamada");
  await judged(page, "phone-4-pad");
  await page.locator("#pad-use").tap();
  // What was typed is saved: a reload shows it.
  await page.locator("#pad").waitFor({ state: "hidden" });
  await finish(page, "phone");
  await page.goBack();
  await page.waitForURL(/\/done$|\/sign\/[^/]*$/);
  must((await page.locator("#finish").count()) === 0, "Back shows no form to sign again");
}

async function drawn(page) {
  await enter(page, "desk", "desk");
  await judged(page, "desk-3-document");
  await fill(page);
  await page.reload();
  must((await page.locator("[name='value.client_company']").inputValue()) === COMPANY, "a reload keeps what was saved");
  await page.locator(".signbtn").click();
  await page.locator("#tab-draw").click();
  // An empty pad and a dot are refused before anything is sent.
  await page.locator("#pad-use").click();
  await page.locator("#pad-error", { hasText: /\S/ }).waitFor();
  const box = await page.locator("#pad-canvas").boundingBox();
  await page.mouse.click(box.x + 20, box.y + 20);
  await page.locator("#pad-use").click();
  await page.locator("#pad-error", { hasText: /\S/ }).waitFor();
  await page.locator("#pad-clear").click();
  for (const from of [0.1, 0.35, 0.6]) {
    await page.mouse.move(box.x + box.width * from, box.y + box.height * 0.75);
    await page.mouse.down();
    for (let step = 1; step <= 24; step++) {
      await page.mouse.move(box.x + box.width * (from + step / 90), box.y + box.height * (0.5 + 0.3 * Math.cos(step / 2.5)));
    }
    await page.mouse.up();
  }
  await judged(page, "desk-4-pad");
  await page.locator("#pad-use").click();
  await page.locator("#pad").waitFor({ state: "hidden" });
  await finish(page, "desk");
}

// Tab, Enter, Space and letters alone.
async function keyboard(page) {
  const until = async (selector) => {
    for (let i = 0; i < 80; i++) {
      if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) return;
      await page.keyboard.press("Tab");
    }
    throw new Error(`Tab never reaches ${selector}`);
  };
  await page.goto(at("keyboard"));
  await until("form[action$='/open'] button");
  await page.keyboard.press("Enter");
  await page.locator("input[name=agree]").waitFor();
  await until("input[name=agree]");
  await page.keyboard.press("Space");
  await until("form[action$='/consent'] button:not([class*=quiet])");
  await page.keyboard.press("Enter");
  await page.locator("#room").waitFor();
  await until(".signbtn");
  await page.keyboard.press("Enter");
  await page.locator("#pad").waitFor();
  await until("#pad-text");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("Taro Yamada");
  await until("#pad-use");
  await page.keyboard.press("Enter");
  await page.locator("#pad").waitFor({ state: "hidden" });
  await until("[name='value.client_name']");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("Taro Yamada");
  await until("[name='value.client_company']");
  await page.keyboard.type(COMPANY);
  await until("#finish");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/done");
}

async function plain(page) {
  await page.goto(at("plain"));
  await page.locator("form[action$='/open'] button").click();
  await page.locator("input[name=agree]").check();
  await page.locator("form[action$='/consent'] button").click();
  await page.locator("#room").waitFor();
  // First with nothing filled in: the page comes back and says what is missing.
  await page.locator("#finish").click();
  await page.locator("#errors").waitFor();
  await page.screenshot({ path: `${asked.screenshots}/plain-errors.png`, fullPage: true });
  await page.locator("[name='value.client_name']").fill("Taro Yamada");
  await page.locator("[name='value.client_company']").fill(COMPANY);
  await page.locator("[name='signature.text']").fill("Taro Yamada");
  await page.screenshot({ path: `${asked.screenshots}/plain-filled.png`, fullPage: true });
  await page.locator("#finish").click();
  await page.waitForURL("**/done");
  await page.screenshot({ path: `${asked.screenshots}/plain-done.png`, fullPage: true });
}

async function decline(page) {
  await enter(page, "decline");
  await page.goto(`${at("decline")}/decline`);
  await judged(page, "decline-1-why");
  await page.locator("textarea[name=reason]").fill("The term is too long.");
  await page.locator("form[action$='/decline'] button").click();
  await page.waitForURL(at("decline"));
  await judged(page, "decline-2-declined");
}

const state = (name, words) => async (page) => {
  await page.goto(name === "unknown" ? `${asked.url}/sign/nothing` : at(name));
  must((await page.locator("h1").innerText()).match(words), `${name} says ${await page.locator("h1").innerText()}`);
  await judged(page, `state-${name}`);
};

const look = (path, shot) => async (page) => {
  await page.goto(asked.url + path);
  await judged(page, shot);
};

await run([
  ["typed, on a phone", PHONE, typed],
  ["drawn, at a desk", DESK, drawn],
  ["by keyboard alone", DESK, keyboard],
  ["without scripts, on a small phone", { ...SMALL_PHONE, javaScriptEnabled: false }, plain],
  ["declined", PHONE, decline],
  ["voided", SMALL_PHONE, state("voided", /withdrawn|void|taken back|cancel/i)],
  ["signed already", DESK, state("signed", /signed/i)],
  ["unknown", PHONE, state("unknown", /not known/)],
  ["the reference", DESK, look("/docs", "docs")],
  ["the reference on a phone", PHONE, look("/docs", "docs-phone")],
  ["a problem's page", PHONE, look("/problems/revoked_key", "problem")],
]);
