//! Builds each variant of the WebAssembly module, optimizes it, checks its size, and writes the module, its glue, the
//! patch to the second variant, and the inlined forms.

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

use crate::{glue, patch};

const TARGET: &str = "wasm32-unknown-unknown";
const PACKAGE: &str = "ruvector-attention-wasm";

/// Debian's Rust compiler with the WebAssembly target, for machines without rustup; `scripts/setup.mjs` installs it.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The maximum size of a module in bytes.
const SIZE_LIMIT: usize = 350_000;

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

const WASM_OPT_FLAGS: [&str; 8] = [
    "-O3",
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// Builds everything in `packages/wasm/` for development: a single module, unoptimized by wasm-opt and with function
/// names, serves as every variant. The next plain build replaces it, even if nothing else has changed.
pub fn build_for_development() -> Result<()> {
    let folders = Folders::new()?;
    let [first, ..] = &VARIANTS;
    let compiled = compile(&folders, std::slice::from_ref(first), &[], &[("CARGO_PROFILE_RELEASE_STRIP", "none")])?;
    let glue = bind(&folders, first, &compiled[0], true)?;
    let module = fs::read(bound_folder(&folders, first).join("attention_bg.wasm"))?;
    report("dev", &module)?;
    write_package(&folders, [&module, &module], &glue)
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
    let compiled = compile(&folders, std::slice::from_ref(&variant), &["faults"], &environment)?;
    bind(&folders, &variant, &compiled[0], false)?;
    Ok(())
}

/// Builds everything in `packages/wasm/`, or nothing if its contents came from the same modules and tools.
pub fn build() -> Result<()> {
    let folders = Folders::new()?;
    let compiled = compile(&folders, &VARIANTS, &[], &[])?;
    let stamp_path = folders.scratch.join("stamp");
    if fs::read_to_string(&stamp_path).is_ok_and(|stamp| stamp == self::stamp(&folders, &compiled)) {
        return Ok(());
    }

    let mut modules = Vec::new();
    let mut glue_of_first: Option<Glue> = None;
    for (variant, module) in VARIANTS.iter().zip(&compiled) {
        let bound = bind(&folders, variant, module, false)?;
        let module = optimise(&folders, variant)?;
        report(variant.name, &module)?;
        modules.push(module);
        match &glue_of_first {
            None => glue_of_first = Some(bound),
            Some(first) => ensure!(
                *first == bound,
                "the variants' glue differs, so one file cannot serve both: compare {} of each",
                folders.scratch.join("*/bound/attention.js").display()
            ),
        }
    }
    let [simd, relaxed] = &modules[..] else { bail!("there are not two variants") };
    write_package(&folders, [simd, relaxed], &glue_of_first.context("there are no variants")?)?;
    let largest = modules.iter().map(Vec::len).max().unwrap_or_default();
    ensure!(largest <= SIZE_LIMIT, "a module has {largest} bytes, which is more than {SIZE_LIMIT}");
    fs::write(stamp_path, stamp(&folders, &compiled))?;
    Ok(())
}

/// Writes the module, its patch, their inlined form and their glue.
fn write_package(folders: &Folders, [simd, relaxed]: [&[u8]; 2], glue: &Glue) -> Result<()> {
    let patch = patch::create(simd, relaxed)?;
    fs::write(folders.output.join("attention.simd.wasm"), simd)?;
    fs::write(folders.output.join("attention.relaxed.patch"), &patch)?;
    let deflated_patch = deflate(&patch)?;
    println!("attention.relaxed.patch: {} bytes, {} deflated", patch.len(), deflated_patch.len());
    let inlined = format!(
        "// Generated by `cargo xtask wasm`: the module, and its patch for relaxed SIMD, deflated (RFC 1951) and \
         written in base64.\n\
         export const simd =\n  '{}'\nexport const patch =\n  '{}'\n",
        BASE64.encode(deflate(simd)?),
        BASE64.encode(deflated_patch)
    );
    let factory = glue::factory(&glue.javascript, &glue.declarations).context("wasm-bindgen's glue has changed")?;
    for (name, text) in [
        ("attention.js", &factory.javascript),
        ("attention.d.ts", &factory.declarations),
        ("attention.exports.d.ts", &factory.export_declarations),
        ("attention.inline.js", &inlined),
        ("attention.inline.d.ts", &INLINE_DECLARATIONS.into()),
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
fn compile(
    folders: &Folders,
    variants: &[Variant],
    cargo_features: &[&str],
    environment: &[(&str, &str)],
) -> Result<Vec<Vec<u8>>> {
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
            .args(["--features", &cargo_features.join(",")])
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
    let mut modules = Vec::new();
    for (status, path) in statuses {
        let status = status.context("cargo")?;
        ensure!(status.success(), "cargo build ended with {status}");
        modules.push(fs::read(&path).with_context(|| path.display().to_string())?);
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
#[derive(PartialEq)]
struct Glue {
    javascript: String,
    declarations: String,
}

/// Returns the folder of wasm-bindgen's output for one variant.
fn bound_folder(folders: &Folders, variant: &Variant) -> PathBuf {
    folders.scratch.join(variant.name).join("bound")
}

/// Runs wasm-bindgen on a module, and keeps function names if requested.
fn bind(folders: &Folders, variant: &Variant, module: &[u8], keeps_names: bool) -> Result<Glue> {
    let folder = bound_folder(folders, variant);
    Bindgen::new()
        .input_bytes("attention", module.to_vec())
        .web(true)?
        .typescript(true)
        .omit_default_module_path(true)
        .remove_name_section(!keeps_names)
        .remove_producers_section(true)
        .generate(&folder)
        .context("wasm-bindgen")?;
    Ok(Glue {
        javascript: fs::read_to_string(folder.join("attention.js"))?,
        declarations: fs::read_to_string(folder.join("attention.d.ts"))?,
    })
}

/// Runs wasm-opt on the output of wasm-bindgen.
fn optimise(folders: &Folders, variant: &Variant) -> Result<Vec<u8>> {
    let folder = bound_folder(folders, variant);
    let optimised = folder.join("optimised.wasm");
    // npm's wasm-opt is a Node program; running it through `node` needs no shell on any platform.
    let mut command = Command::new("node");
    command
        .current_dir(&folders.root)
        .arg("node_modules/binaryen/bin/wasm-opt")
        .args(WASM_OPT_FLAGS)
        .args(variant.wasm_opt_flags)
        .arg(folder.join("attention_bg.wasm"))
        .arg("--output")
        .arg(&optimised);
    run(&mut command)?;
    Ok(fs::read(optimised)?)
}

/// Prints a module's size.
fn report(name: &str, module: &[u8]) -> Result<()> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(module)?;
    println!("attention.{name}.wasm: {} bytes, {} gzipped", module.len(), encoder.finish()?.len());
    Ok(())
}

fn deflate(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

const INLINE_DECLARATIONS: &str = "// Generated by `cargo xtask wasm`: the types of attention.inline.js.\n\
                                   export const simd: string\nexport const patch: string\n";

/// Hashes the linked modules, this program, wasm-opt, and every file written from them.
fn stamp(folders: &Folders, compiled: &[Vec<u8>]) -> String {
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
