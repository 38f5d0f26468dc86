// An invitation as people answer it: on a phone, in the dark, by keyboard alone and without scripts.
// Read from standard input: { url, screenshots, links: { phone, dark, keyboard, plain } }.
import { DESK, PHONE, SMALL_PHONE, asked, judged, must, run } from "./lib.mjs";

const PASSWORD = "three blue herons at dawn";
const at = (name) => asked.url + asked.links[name];

async function joined(page) {
  await page.getByRole("heading", { name: "You have joined" }).waitFor();
}

async function onAPhone(page) {
  await page.goto(at("phone"));
  await judged(page, "invite-phone-1");
  await page.getByLabel("Your name").fill("Ada Lovelace");
  await page.getByLabel("New password").fill(PASSWORD);
  await page.getByLabel("The same once more").fill(PASSWORD + "!");
  await page.getByRole("button").tap();
  await page.getByText("The two passwords are not the same.").waitFor();
  must((await page.getByLabel("Your name").inputValue()) === "Ada Lovelace", "the name is kept");
  must((await page.getByLabel("New password").inputValue()) === "", "a password is never sent back");
  await judged(page, "invite-phone-2-fault");
  await page.getByLabel("New password").fill(PASSWORD);
  await page.getByLabel("The same once more").fill(PASSWORD);
  await page.getByRole("button").tap();
  await joined(page);
  await judged(page, "invite-phone-3-joined");
  await page.goto(at("phone"));
  await page.getByRole("heading", { name: "not known" }).waitFor();
  await judged(page, "invite-phone-4-again");
}

async function inTheDark(page) {
  await page.goto(at("dark"));
  await judged(page, "invite-dark");
}

async function byKeyboard(page) {
  await page.goto(at("keyboard"));
  await judged(page, "invite-desk");
  const typed = { name: "Ada", password: PASSWORD, again: PASSWORD };
  for (let tabs = 0; tabs < 12; tabs++) {
    await page.keyboard.press("Tab");
    const here = await page.evaluate(() => document.activeElement.name || document.activeElement.tagName);
    if (typed[here]) await page.keyboard.type(typed[here]);
    if (here === "BUTTON") break;
  }
  await page.keyboard.press("Enter");
  await joined(page);
}

async function withoutScripts(page) {
  await page.goto(at("plain"));
  await page.getByLabel("Your name").fill("Ada");
  await page.getByLabel("New password").fill(PASSWORD);
  await page.getByLabel("The same once more").fill(PASSWORD);
  await page.getByRole("button").click();
  await joined(page);
}

await run([
  ["an invitation on a phone", PHONE, onAPhone],
  ["an invitation in the dark, on a small phone", { ...SMALL_PHONE, colorScheme: "dark" }, inTheDark],
  ["an invitation by keyboard alone", DESK, byKeyboard],
  ["an invitation without scripts", { ...DESK, javaScriptEnabled: false }, withoutScripts],
]);
