// What every browser test needs: Debian's Chromium, an ear for faults, axe's judgement, screenshots.
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.IUSIGN_TEST_TOOLS, "npm", "here.js"));
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const asked = JSON.parse(readFileSync(0, "utf8"));
export const PHONE = { viewport: { width: 375, height: 812 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
export const SMALL_PHONE = { viewport: { width: 320, height: 640 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
export const DESK = { viewport: { width: 1280, height: 800 } };

mkdirSync(asked.screenshots, { recursive: true });

export function must(condition, words) {
  if (!condition) throw new Error(words);
}

// Runs each test in a context of its own; the first that fails ends the run with its name and a picture.
export async function run(tests) {
  // Chromium's own sandbox does not start for root.
  const sandbox = process.getuid() === 0 ? ["--no-sandbox"] : [];
  const browser = await chromium.launch({ executablePath: process.env.IUSIGN_TEST_CHROMIUM, args: sandbox });
  try {
    for (const [name, options, test] of tests) {
      const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: "en-US", reducedMotion: "reduce", ...options });
      context.setDefaultTimeout(20_000);
      const page = await context.newPage();
      const faults = listen(page);
      try {
        await test(page, context);
        must(faults.length === 0, `the page had faults:\n${faults.join("\n")}`);
        console.log(`ok ${name}`);
      } catch (error) {
        await page.screenshot({ path: join(asked.screenshots, "failed.png") }).catch(() => {});
        throw new Error(`${name}: ${error.stack ?? error}\n${faults.join("\n")}\nat ${page.url()}`);
      } finally {
        await context.close();
      }
    }
  } finally {
    await browser.close();
  }
}

// Errors of scripts, refusals by the content security policy, and whatever the page asks of other hosts.
function listen(page) {
  const faults = [];
  page.on("pageerror", (error) => faults.push(`script: ${error}`));
  page.on("console", (message) => {
    // A page of a state has its status, which the console reports as a failed load.
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) faults.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (!["data:", "blob:"].includes(url.protocol) && url.origin !== asked.url) faults.push(`asks another host: ${request.url()}`);
  });
  return faults;
}

// The page once it stands: pictured whole, judged by axe, and not wider than its window.
export async function judged(page, name) {
  await page.waitForLoadState("load");
  await page.screenshot({ path: join(asked.screenshots, `${name}.png`), fullPage: true });
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => (await window.axe.run(document, { resultTypes: ["violations"] })).violations.map((v) => `${v.id} (${v.impact}): ${v.help}\n  ${v.nodes.map((n) => n.html + "\n    " + n.failureSummary).join("\n  ")}`));
  must(found.length === 0, `axe finds in ${name}:\n${found.join("\n")}`);
  const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  must(inner <= outer, `${name} is ${inner} wide in a window of ${outer}`);
}
