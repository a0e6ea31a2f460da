// Bundles the page of the map into the Python package, or (--tests) the tests into build/test.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const TABLES = "../src/pellucid/render/colormaps.txt";
const common = { bundle: true, charset: "utf8", legalComments: "none", logLevel: "warning", absWorkingDir: here };

const colors = { name: "colors", setup: giveColors };

if (process.argv.includes("--tests")) await tests();
else await page(resolve(here, "../src/pellucid/render/static"));

async function tests() {
  const outdir = join(here, "build/test");
  rmSync(outdir, { recursive: true, force: true });
  const entryPoints = readdirSync(join(here, "test")).filter((name) => name.endsWith(".test.ts"));
  await build({
    ...common,
    entryPoints: entryPoints.map((name) => join("test", name)),
    outdir,
    platform: "node",
    format: "esm",
    outExtension: { ".js": ".mjs" },
    plugins: [colors],
  });
}

async function page(out) {
  const options = { ...common, minify: true, write: false, target: ["chrome109", "firefox115", "safari16"] };
  const text = async (entry, more = {}) => {
    const { outputFiles } = await build({ ...options, format: "iife", entryPoints: [entry], ...more });
    return outputFiles[0].text.trim();
  };
  const worker = await text("src/page/worker.ts");
  const given = { name: "worker", setup: (b) => giveWorker(b, worker) };
  const script = await text("src/page/main.ts", { plugins: [given, colors] });
  const style = await text("src/page/map.css");
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, "map.js"), script);
  writeFileSync(join(out, "map.css"), style);
  writeFileSync(join(out, "sources.sha256"), sources());
}

/** The color tables of the Python side as an object of texts, under the name "colors:tables". */
function giveColors(b) {
  b.onResolve({ filter: /^colors:tables$/ }, () => ({ path: "tables", namespace: "colors" }));
  b.onLoad({ filter: /.*/, namespace: "colors" }, () => {
    const lines = readFileSync(join(here, TABLES), "utf8").split("\n").filter((line) => line && !line.startsWith("#"));
    return { contents: JSON.stringify(Object.fromEntries(lines.map((line) => line.trim().split(" ")))), loader: "json" };
  });
}

/** The bundled worker as a text, under the name "worker:layout". */
function giveWorker(b, contents) {
  b.onResolve({ filter: /^worker:layout$/ }, () => ({ path: "layout", namespace: "worker" }));
  b.onLoad({ filter: /.*/, namespace: "worker" }, () => ({ contents, loader: "text" }));
}

/** A fingerprint of everything that the bundle is made of; bundle.py computes the same. */
function sources() {
  const found = ["package.json", "package-lock.json", "build.mjs", "tsconfig.json", TABLES, ...walk(join(here, "src"))];
  const hash = createHash("sha256");
  for (const name of found.sort()) {
    const content = readFileSync(join(here, name), "utf8").replaceAll("\r\n", "\n");
    hash.update(`${name}\n${Buffer.byteLength(content)}\n${content}`);
  }
  return hash.digest("hex") + "\n";
}

function walk(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? walk(path) : [relative(here, path).replaceAll("\\", "/")];
  });
}
