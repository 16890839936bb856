//! Builds each variant of the WebAssembly modules, optimizes it, checks its size, and writes the modules, their glue,
//! the patches to the second variants, and the inlined forms.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use wasm_bindgen_cli_support::Bindgen;

use crate::{glue, patch, rooms, streams, traps};

const TARGET: &str = "wasm32-unknown-unknown";
const PACKAGE: &str = "ruvector-attention-wasm";

/// Debian's Rust compiler with the WebAssembly target, for machines without rustup; `scripts/setup.mjs` installs it.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A module for one use; an entry of the package loads it.
struct Module {
    /// The start of its file names.
    name: &'static str,
    /// The features of the crate that it is built with.
    features: &'static [&'static str],
    /// The maximum size in bytes; `rooms` has those of its parts.
    limit: usize,
}

/// The modules.
const MODULES: [Module; 3] = [
    Module { name: "attention", features: &["full"], limit: 533_000 },
    Module { name: "attention.core", features: &[], limit: 398_000 },
    Module { name: "attention.training", features: &["full", "training"], limit: 702_000 },
];

/// The features of all modules together.
const EVERY_FEATURE: &[&str] = &["full", "training"];

/// One build of the module, for engines that support certain instructions.
struct Variant {
    /// The variant's name in file names and in the inlined form.
    name: &'static str,
    /// The target features that the compiler may use.
    target_features: &'static str,
    /// Flags for wasm-opt in addition to [`WASM_OPT_FLAGS`].
    wasm_opt_flags: &'static [&'static str],
}

const VARIANTS: [Variant; 2] = [
    Variant { name: "simd", target_features: "+simd128", wasm_opt_flags: &[] },
    Variant { name: "relaxed", target_features: "+simd128,+relaxed-simd", wasm_opt_flags: &["--enable-relaxed-simd"] },
];

const WASM_OPT_FLAGS: [&str; 11] = [
    // Accesses through `pointer + constant` use the constant as an offset. The stack comes first in memory, and its
    // lowest 1,024 bytes are only used just before it overflows.
    "--low-memory-unused",
    "-O3",
    // After the optimizations: functions of one Rust module resemble each other, and compression looks back 32 KB.
    "--reorder-functions-by-name",
    "--debuginfo",
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// Builds everything in `packages/wasm/` for development: a single module, unoptimized by wasm-opt and with function
/// names, serves every use as every variant. The next plain build replaces it, even if nothing else has changed.
pub fn build_for_development() -> Result<()> {
    let folders = Folders::new()?;
    let [first, ..] = &VARIANTS;
    let environment = [("CARGO_PROFILE_RELEASE_STRIP", "none")];
    let compiled = compile(&folders, std::array::from_ref(first), EVERY_FEATURE, &environment)?;
    let folder = folders.scratch.join(first.name).join("bound");
    let glue = bind(&folder, &compiled[0])?;
    let bytes = fs::read(folder.join("attention_bg.wasm"))?;
    report("dev", &bytes)?;
    for module in &MODULES {
        write_module(&folders, module, [&bytes, &bytes], deflate_fast)?;
    }
    write_glue(&folders, &glue)
}

/// Builds one module with an operation that panics, to test recovery. It works with the glue of the other variants.
pub fn build_with_faults() -> Result<()> {
    let folders = Folders::new()?;
    let variant = Variant { name: "faults", ..VARIANTS[0] };
    // Its tests do not depend on speed.
    let environment = [
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
        ("CARGO_PROFILE_RELEASE_LTO", "off"),
        ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ];
    let compiled = compile(&folders, std::array::from_ref(&variant), &["full", "faults"], &environment)?;
    bind(&folders.scratch.join(variant.name).join("bound"), &compiled[0])?;
    Ok(())
}

/// Builds everything in `packages/wasm/`, or nothing if its contents came from the same modules and tools.
pub fn build() -> Result<()> {
    let folders = Folders::new()?;
    let compiled: Vec<_> =
        MODULES.iter().map(|module| compile(&folders, &VARIANTS, module.features, &[])).collect::<Result<_>>()?;
    let stamp_path = folders.scratch.join("stamp");
    if fs::read_to_string(&stamp_path).is_ok_and(|stamp| stamp == self::stamp(&folders, &compiled)) {
        return Ok(());
    }
    let mut glue = None;
    let mut excesses = Vec::new();
    for (number, (module, [simd, relaxed])) in MODULES.iter().zip(&compiled).enumerate() {
        let [simd, relaxed] = [(&VARIANTS[0], simd), (&VARIANTS[1], relaxed)]
            .map(|(variant, compiled)| finish(&folders, module, variant, compiled, &mut glue));
        let [simd, relaxed] = [simd?, relaxed?];
        write_module(&folders, module, [&rooms::without_names(&simd)?, &rooms::without_names(&relaxed)?], deflate)?;
        excesses.extend(rooms::excesses(module.name, number, &rooms::measure(&simd)?));
        let (size, limit) = (rooms::without_names(&relaxed)?.len(), module.limit);
        if size > limit {
            excesses.push(format!("{} has {size} bytes, which is more than {limit}", module.name));
        }
    }
    write_glue(&folders, &glue.context("there are no modules")?)?;
    print_sizes()?;
    ensure!(excesses.is_empty(), "{}", excesses.join("\n"));
    fs::write(stamp_path, stamp(&folders, &compiled))?;
    Ok(())
}

/// Prints the sizes of the last build's modules by room.
pub fn print_sizes() -> Result<()> {
    let folders = Folders::new()?;
    let columns: Vec<_> = MODULES
        .iter()
        .map(|module| {
            let path = bound_folder(&folders, module, &VARIANTS[0]).join(OPTIMISED);
            let bytes = fs::read(&path).with_context(|| format!("{}: run `npm run build:wasm`", path.display()))?;
            Ok((module.name, rooms::measure(&bytes)?))
        })
        .collect::<Result<_>>()?;
    print!("{}", rooms::table(&columns));
    Ok(())
}

/// Binds and optimizes one build of a module, and checks that its glue serves the earlier ones too. The last module has
/// every export.
fn finish(
    folders: &Folders,
    module: &Module,
    variant: &Variant,
    compiled: &[u8],
    glue: &mut Option<Glue>,
) -> Result<Vec<u8>> {
    let folder = bound_folder(folders, module, variant);
    let bound = bind(&folder, compiled)?;
    let optimised = optimise(folders, &folder, variant)?;
    report(&format!("{}.{}", module.name, variant.name), &rooms::without_names(&optimised)?)?;
    ensure!(
        glue.as_ref().is_none_or(|earlier| bound.serves(earlier)),
        "the glue of the builds differs, so one file cannot serve all: compare {}",
        folders.scratch.join("*/bound*/attention.js").display()
    );
    *glue = Some(bound);
    Ok(optimised)
}

/// Writes a module, its patch and their inlined form.
fn write_module(
    folders: &Folders,
    module: &Module,
    [simd, relaxed]: [&[u8]; 2],
    deflate: fn(&[u8]) -> Result<Vec<u8>>,
) -> Result<()> {
    let name = module.name;
    let patch = patch::create(simd, relaxed)?;
    let deflated_patch = deflate(&patch)?;
    println!("{name}.relaxed.patch: {} bytes, {} deflated", patch.len(), deflated_patch.len());
    let inlined = format!(
        "// Generated by `cargo xtask wasm`: the streams of the module, and its patch for relaxed SIMD, deflated \
         (RFC 1951) and written in base64.\n\
         export const simd =\n  '{}'\nexport const patch =\n  '{}'\n",
        BASE64.encode(deflate(&streams::separate(simd)?)?),
        BASE64.encode(deflated_patch)
    );
    for (extension, contents) in [
        ("simd.wasm", simd),
        ("relaxed.patch", &patch),
        ("inline.js", inlined.as_bytes()),
        ("inline.d.ts", INLINE_DECLARATIONS.as_bytes()),
    ] {
        fs::write(folders.output.join(format!("{name}.{extension}")), contents)?;
    }
    Ok(())
}

/// Writes the glue of all modules.
fn write_glue(folders: &Folders, glue: &Glue) -> Result<()> {
    let factory = glue::factory(&glue.javascript, &glue.declarations).context("wasm-bindgen's glue has changed")?;
    for (name, text) in [
        ("attention.js", &factory.javascript),
        ("attention.d.ts", &factory.declarations),
        ("attention.exports.d.ts", &factory.export_declarations),
    ] {
        fs::write(folders.output.join(name), text)?;
    }
    Ok(())
}

/// The folders of a build.
struct Folders {
    /// The root of the repository.
    root: PathBuf,
    /// The folder of the package, `packages/wasm`.
    output: PathBuf,
    /// Intermediate files, separate from native builds so that neither build invalidates the other.
    scratch: PathBuf,
}

impl Folders {
    fn new() -> Result<Self> {
        // Read at run time: the folder may have moved since this program was compiled.
        let this_crate = std::env::var_os("CARGO_MANIFEST_DIR").context("xtask has to be run by cargo")?;
        let root = Path::new(&this_crate).join("../..").canonicalize()?;
        let folders = Self { output: root.join("packages/wasm"), scratch: root.join("target/wasm"), root };
        fs::create_dir_all(&folders.output)?;
        fs::create_dir_all(&folders.scratch)?;
        Ok(folders)
    }
}

/// Builds these variants with cargo, and returns the modules as the linker wrote them.
fn compile<const N: usize>(
    folders: &Folders,
    variants: &[Variant; N],
    cargo_features: &[&str],
    environment: &[(&str, &str)],
) -> Result<[Vec<u8>; N]> {
    let compiler = compiler()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // In parallel, because the optimizer runs on a single thread for most of a build.
    let start = |variant: &Variant| {
        let target_dir = folders.scratch.join(variant.name);
        let mut command = Command::new(&cargo);
        command
            .current_dir(&folders.root)
            .args([
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--package",
                PACKAGE,
                "--target",
                TARGET,
                "--target-dir",
            ])
            .arg(&target_dir)
            .args(["--no-default-features", "--features", &cargo_features.join(",")])
            // Reading options and copying arrays take most of the code size but little of the time.
            .args(["--config", "profile.release.package.ruvector-attention-calls.opt-level='z'"])
            // Loop strength reduction prevents constant offsets from being folded into loads, which costs 8%. Functions
            // that must be inlined are marked; further inlining would only make the module larger.
            .env(
                "RUSTFLAGS",
                format!(
                    "-Ctarget-feature={} -Cllvm-args=-disable-lsr -Cllvm-args=-inline-threshold=10",
                    variant.target_features
                ),
            )
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            // Of the kernels. The third level adds copies of loops, but no speed: hot loops are unrolled by hand.
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2")
            .envs(environment.iter().copied());
        if let Some(rustc) = compiler {
            command.env("RUSTC", rustc);
        }
        let path = target_dir.join(TARGET).join("release").join(PACKAGE.replace('-', "_")).with_extension("wasm");
        (command.spawn(), path)
    };
    let builds: Vec<_> = variants.iter().map(start).collect();
    // Wait for every build, even if one fails.
    let statuses: Vec<_> =
        builds.into_iter().map(|(child, path)| (child.and_then(|mut child| child.wait()), path)).collect();
    let mut modules = variants.each_ref().map(|_| Vec::new());
    for (module, (status, path)) in modules.iter_mut().zip(statuses) {
        let status = status.context("cargo")?;
        ensure!(status.success(), "cargo build ended with {status}");
        *module = fs::read(&path).with_context(|| path.display().to_string())?;
    }
    Ok(modules)
}

/// Returns the compiler to pass to cargo, or `None` if the default one has the target.
fn compiler() -> Result<Option<&'static str>> {
    let has_target = |rustc: &str| {
        let output = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
        output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
    };
    if has_target("rustc") {
        Ok(None)
    } else if has_target(DEBIAN_RUSTC) {
        Ok(Some(DEBIAN_RUSTC))
    } else {
        bail!("no Rust compiler here has the target {TARGET}: run `npm run setup`")
    }
}

/// The files that wasm-bindgen generates in addition to the module.
struct Glue {
    javascript: String,
    declarations: String,
}

impl Glue {
    /// Returns true if the glue also serves a module with fewer exports: it consists of the lines of that module's own
    /// glue, in their order, and further ones.
    fn serves(&self, other: &Self) -> bool {
        has_lines(&self.javascript, &other.javascript) && has_lines(&self.declarations, &other.declarations)
    }
}

/// Returns true if a text has the lines of another one in the same order.
fn has_lines(text: &str, others: &str) -> bool {
    let mut lines = text.lines();
    others.lines().all(|other| lines.any(|line| line == other))
}

/// The name of an optimized module in its folder, with the names of functions.
const OPTIMISED: &str = "optimised.wasm";

/// Returns the folder of wasm-bindgen's output for one build.
fn bound_folder(folders: &Folders, module: &Module, variant: &Variant) -> PathBuf {
    folders.scratch.join(variant.name).join(format!("bound-{}", module.name))
}

/// Runs wasm-bindgen on a module, which keeps its function names.
fn bind(folder: &Path, module: &[u8]) -> Result<Glue> {
    Bindgen::new()
        .input_bytes("attention", module.to_vec())
        .web(true)?
        .typescript(true)
        .omit_default_module_path(true)
        .remove_name_section(false)
        .remove_producers_section(true)
        .generate(folder)
        .context("wasm-bindgen")?;
    Ok(Glue {
        javascript: fs::read_to_string(folder.join("attention.js"))?,
        declarations: fs::read_to_string(folder.join("attention.d.ts"))?,
    })
}

/// Turns panics in the output of wasm-bindgen into traps, and runs wasm-opt.
fn optimise(folders: &Folders, folder: &Path, variant: &Variant) -> Result<Vec<u8>> {
    let [bound, without_panics, optimised] =
        ["attention_bg.wasm", "without_panics.wasm", OPTIMISED].map(|name| folder.join(name));
    fs::write(&without_panics, traps::without_panics(&fs::read(bound)?)?)?;
    // npm's wasm-opt is a Node program; running it through `node` needs no shell on any platform.
    let mut command = Command::new("node");
    command
        .current_dir(&folders.root)
        .arg("node_modules/binaryen/bin/wasm-opt")
        .args(WASM_OPT_FLAGS)
        .args(variant.wasm_opt_flags)
        .arg(without_panics)
        .arg("--output")
        .arg(&optimised);
    run(&mut command)?;
    Ok(fs::read(optimised)?)
}

/// Prints a module's size.
fn report(name: &str, module: &[u8]) -> Result<()> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(module)?;
    println!("{name}.wasm: {} bytes, {} gzipped", module.len(), encoder.finish()?.len());
    Ok(())
}

fn deflate_fast(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// Deflates by an exhaustive search, which takes seconds and saves a few percent of a page's download.
fn deflate(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut output = Vec::new();
    zopfli::compress(zopfli::Options::default(), zopfli::Format::Deflate, bytes, &mut output)?;
    Ok(output)
}

/// The types of the inlined form of every module.
const INLINE_DECLARATIONS: &str = "// Generated by `cargo xtask wasm`: the types of attention.inline.js.\n\
                                   export const simd: string\nexport const patch: string\n";

/// Hashes the linked modules, this program, wasm-opt, and every file written from them.
fn stamp(folders: &Folders, compiled: &[[Vec<u8>; 2]]) -> String {
    let mut hasher = DefaultHasher::new();
    compiled.hash(&mut hasher);
    let this_program = std::env::current_exe().unwrap_or_default();
    for path in [this_program, folders.root.join("node_modules/binaryen/package.json")] {
        fs::read(path).ok().hash(&mut hasher);
    }
    let mut outputs: Vec<PathBuf> = fs::read_dir(&folders.output)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("attention.")))
        .collect();
    outputs.sort();
    for path in outputs {
        fs::read(&path).ok().hash(&mut hasher);
    }
    hasher.finish().to_string()
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| program.clone())?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;

    use super::{deflate, deflate_fast, has_lines};

    #[test]
    fn glue_with_further_exports_has_the_lines_of_the_others() {
        assert!(has_lines("a\nb\nc\n", "a\nc\n"));
        assert!(!has_lines("a\nc\n", "a\nb\nc\n"));
        assert!(!has_lines("b\na\n", "a\nb\n"));
    }

    #[test]
    fn both_ways_to_deflate_can_be_inflated() {
        let bytes: Vec<u8> = (0..5000_u32).map(|index| (index * index / 97) as u8).collect();
        for deflated in [deflate(&bytes).unwrap(), deflate_fast(&bytes).unwrap()] {
            let mut inflated = Vec::new();
            DeflateDecoder::new(&deflated[..]).read_to_end(&mut inflated).unwrap();
            assert_eq!(inflated, bytes);
        }
    }
}
