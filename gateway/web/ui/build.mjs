// Builds the browser assets: `npm ci && node build.mjs` writes ../static, the same bytes each time.
//
// Every file has a hash of its content in its name and lies there plain and, where that helps, as .br
// and .gz. What belongs to which page stands in manifest.json, which is written last: where it is,
// all is.

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const OUT = join(HERE, "..", "static");

const COMMON = {
  absWorkingDir: HERE,
  outdir: OUT,
  write: false,
  bundle: true,
  minify: true,
  metafile: true,
  target: "es2022",
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  legalComments: "none", // all licences stand in one file, see below
  logLevel: "warning",
};

const WORKERS = {
  editor: "monaco-editor/esm/vs/editor/editor.worker.js",
  json: "monaco-editor/esm/vs/language/json/json.worker.js",
  graphql: "monaco-graphql/esm/graphql.worker.js",
};

/** Fonts that style sheets carry inside of them become files, of which a browser takes what it needs. */
const fontsAsFiles = {
  name: "fonts-as-files",
  setup({ onResolve, onLoad }) {
    const found = [];
    onResolve({ filter: /^data:font\// }, ({ path }) => {
      const [, kind, data] = /^data:font\/(\w+);base64,(.*)$/s.exec(path);
      found.push(Buffer.from(data, "base64"));
      return { namespace: "font", path: `${found.length - 1}/font.${kind}` };
    });
    onLoad({ filter: /./, namespace: "font" }, ({ path }) => ({
      contents: found[parseInt(path)],
      loader: "file",
    }));
  },
};

/** The editor's style is part of graphiql/style.css already. */
const editorStyleOnce = {
  name: "editor-style-once",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]monaco-editor[\\/].*\.css$/ }, () => ({ contents: "", loader: "css" }));
  },
};

const workers = await build({ ...COMMON, format: "iife", entryPoints: WORKERS });
const pages = await build({
  ...COMMON,
  format: "esm",
  entryPoints: { playground: "src/playground.jsx", docs: "src/docs.js" },
  jsx: "automatic",
  loader: { ".graphql": "text" },
  define: {
    "process.env.NODE_ENV": '"production"',
    WORKERS: JSON.stringify(outputs(workers, ".js")),
  },
  plugins: [fontsAsFiles, editorStyleOnce],
});

const files = new Map();
for (const { path, contents } of [...workers.outputFiles, ...pages.outputFiles]) {
  files.set(basename(path), contents);
}
const favicon = add("favicon.svg", readFileSync(join(HERE, "src", "favicon.svg")));
const licences = add("licences.txt", Buffer.from(licenceTexts(workers, pages)));
const scripts = outputs(pages, ".js");
const styles = outputs(pages, ".css");

rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT);
for (const [name, contents] of files) {
  writeFileSync(join(OUT, name), contents);
  if (codings(name).length) {
    writeFileSync(join(OUT, `${name}.br`), brotli(contents));
    writeFileSync(join(OUT, `${name}.gz`), gzipSync(contents, { level: 9 }));
  }
}
const manifest = {
  playground: { script: scripts.playground, style: styles.playground },
  docs: { script: scripts.docs, style: styles.docs },
  workers: outputs(workers, ".js"),
  favicon,
  licences,
  files: Object.fromEntries([...files.keys()].sort().map((name) => [name, codings(name)])),
};
writeFileSync(join(OUT, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");

/** Names of the files that entry points became, by entry point. */
function outputs({ metafile }, extension) {
  const names = Object.entries(metafile.outputs)
    .map(([path, { entryPoint, cssBundle }]) => [basename(path), entryPoint, cssBundle])
    .filter(([, entryPoint]) => entryPoint)
    .map(([script, , style]) => (extension === ".css" ? basename(style) : script));
  return Object.fromEntries(names.sort().map((name) => [name.replace(/-[^-]+$/, ""), name]));
}

function add(name, contents) {
  const hash = createHash("sha256").update(contents).digest("hex").slice(0, 8).toUpperCase();
  const hashed = name.replace(".", `-${hash}.`);
  files.set(hashed, contents);
  return hashed;
}

/** The content codings a file is there in, beside the plain one; web fonts are compressed as they are. */
function codings(name) {
  return /\.woff2?$/.test(name) ? [] : ["br", "gzip"];
}

function brotli(contents) {
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_SIZE_HINT, BROTLI_MAX_QUALITY } = constants;
  return brotliCompressSync(contents, {
    params: {
      [BROTLI_PARAM_QUALITY]: BROTLI_MAX_QUALITY,
      [BROTLI_PARAM_SIZE_HINT]: contents.length,
    },
  });
}

/** The licence of each package of which something was built in, as the licences ask for. */
function licenceTexts(...results) {
  const inputs = results.flatMap(({ metafile }) => Object.keys(metafile.inputs));
  const folders = inputs.map((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]);
  return [...new Set(folders)].filter(Boolean).sort().map(licenceText).join("\n");
}

function licenceText(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(HERE, folder, "package.json")));
  const texts = readdirSync(join(HERE, folder))
    .filter((file) => /^(licen[cs]e|notice|copying)|\.LICENSE\.txt$/i.test(file))
    .sort()
    .map((file) => readFileSync(join(HERE, folder, file), "utf8").trim());
  return [`${"=".repeat(80)}\n${name} ${version} (${license})`, ...texts].join("\n\n") + "\n";
}
