// Builds the browser assets: `npm ci && node build.mjs` writes ../static, the same bytes each time.
//
// Every file has a hash of its content in its name and lies there plain and, where that helps, as
// .br and .gz. What belongs to which page stands in manifest.json, which is written last: where it
// is, all is.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { build } from "esbuild";
import { buildSchema, parse, validate } from "graphql";
import openapiTS, { astToString } from "openapi-typescript";

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

const CODINGS = {
  br: {
    suffix: ".br",
    compress: (contents) =>
      promisify(brotliCompress)(contents, {
        params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY },
      }),
  },
  gzip: { suffix: ".gz", compress: (contents) => promisify(gzip)(contents, { level: 9 }) },
};

const WORKERS = {
  editor: "monaco-editor/esm/vs/editor/editor.worker.js",
  json: "monaco-editor/esm/vs/language/json/json.worker.js",
  graphql: "monaco-graphql/esm/graphql.worker.js",
};

/** Fonts inside of style sheets become files, of which a browser takes what it needs. */
const fontsAsFiles = {
  name: "fonts-as-files",
  setup({ onResolve, onLoad }) {
    const fonts = new Map();
    onResolve({ filter: /^data:font\// }, ({ path: url }) => {
      const [, kind, data] = /^data:font\/(\w+);base64,(.*)$/s.exec(url);
      const contents = Buffer.from(data, "base64");
      const path = `${hash(contents)}/font.${kind}`;
      fonts.set(path, contents);
      return { namespace: "font", path };
    });
    onLoad({ filter: /./, namespace: "font" }, ({ path }) => ({
      contents: fonts.get(path),
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

// The console is typed by the API's document, and its queries are held against the schema: where
// either has moved, it is not built.
writeFileSync(
  join(HERE, "src", "console", "openapi.d.ts"),
  astToString(await openapiTS(new URL("../../../openapi/openapi.yaml", import.meta.url))),
);
execFileSync(process.execPath, [join(HERE, "node_modules", "typescript", "bin", "tsc")], { cwd: HERE, stdio: "inherit" });

const schema = buildSchema(readFileSync(join(HERE, "../../../schema/schema.graphql"), "utf8"));
for (const name of readdirSync(join(HERE, "src", "console")).filter((file) => file.endsWith(".graphql"))) {
  const document = parse(readFileSync(join(HERE, "src", "console", name), "utf8"));
  for (const error of validate(schema, document)) throw new Error(`${name}: ${error.message}`);
}

const workers = await build({ ...COMMON, format: "iife", entryPoints: WORKERS });
const pages = await build({
  ...COMMON,
  format: "esm",
  entryPoints: { playground: "src/playground.jsx", docs: "src/docs.js", console: "src/console.tsx" },
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
await Promise.all(
  [...files].flatMap(([name, contents]) => [
    writeFile(join(OUT, name), contents),
    ...codings(name).map(async (coding) => {
      const { suffix, compress } = CODINGS[coding];
      await writeFile(join(OUT, name + suffix), await compress(contents));
    }),
  ]),
);
const manifest = {
  playground: { script: scripts.playground, style: styles.playground },
  docs: { script: scripts.docs, style: styles.docs },
  console: { script: scripts.console, style: styles.console },
  workers: outputs(workers, ".js"),
  favicon,
  licences,
  files: Object.fromEntries([...files.keys()].sort().map((name) => [name, codings(name)])),
};
await writeFile(join(OUT, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");

/** Names of the files that entry points became, by entry point. */
function outputs({ metafile }, extension) {
  const names = Object.entries(metafile.outputs)
    .map(([path, { entryPoint, cssBundle }]) => [basename(path), entryPoint, cssBundle])
    .filter(([, entryPoint]) => entryPoint)
    .map(([script, , style]) => (extension === ".css" ? basename(style) : script));
  return Object.fromEntries(names.sort().map((name) => [name.replace(/-[^-]+$/, ""), name]));
}

function add(name, contents) {
  const hashed = name.replace(".", `-${hash(contents)}.`);
  files.set(hashed, contents);
  return hashed;
}

function hash(contents) {
  return createHash("sha256").update(contents).digest("hex").slice(0, 8).toUpperCase();
}

/** The content codings a file is there in beside the plain one: web fonts are compressed already. */
function codings(name) {
  return /\.woff2?$/.test(name) ? [] : Object.keys(CODINGS);
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
