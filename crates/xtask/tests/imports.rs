//! Checks that imports of the crates run in one direction: bindings → calls → kernels, and inside the kernels
//! mechanisms → mathematics → SIMD, without cycles between files.
//!
//! An arrow is an import of a function, a constant or a static, or its use by a path. Imports of types and traits
//! alone, `mod`, and re-exports of children do not count.

#![allow(missing_docs, reason = "test names are sentences")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A file's arrows: for each, the file that it leads to and the name that it imports.
type Arrows = BTreeMap<String, BTreeSet<(String, String)>>;

/// The source files of one crate by their module path, such as `attention::cache`; the root is the empty path.
struct Crate {
    sources: BTreeMap<String, String>,
}

impl Crate {
    fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let mut sources = BTreeMap::new();
        collect(&folder, "", &mut sources);
        assert!(!sources.is_empty(), "{} has no source", folder.display());
        Self { sources }
    }

    fn arrows(&self) -> Arrows {
        self.sources.keys().map(|module| (module.clone(), self.arrows_of(module))).collect()
    }

    fn arrows_of(&self, module: &str) -> BTreeSet<(String, String)> {
        let source = &self.sources[module];
        let mut arrows = BTreeSet::new();
        let mut add = |path: &[String]| {
            if let Some((target, item)) = self.resolve(module, path)
                && target != module
                && !is_type(&item)
            {
                arrows.insert((target, item));
            }
        };
        for path in imports(source) {
            let path = self.absolute(module, &path);
            let Some((target, item)) = self.resolve(module, &path) else { continue };
            if !item.is_empty() {
                add(&path);
                continue;
            }
            // The import is a module, whose functions are used through its name.
            let name = target.rsplit("::").next().unwrap_or_default().to_owned();
            for used in used_through(source, &name) {
                let mut path = path.clone();
                path.push(used);
                add(&path);
            }
        }
        for path in inline_paths(source) {
            add(&self.absolute(module, &path));
        }
        // Functions of child modules, used through the child's name.
        for child in self.sources.keys().filter(|other| parent(other) == Some(module)) {
            let name = child.rsplit("::").next().unwrap_or_default();
            for used in used_through(source, name) {
                let mut path: Vec<String> = child.split("::").map(str::to_owned).collect();
                path.push(used);
                add(&path);
            }
        }
        arrows
    }

    /// Returns a path relative to the crate's root.
    fn absolute(&self, module: &str, path: &[String]) -> Vec<String> {
        let mut base: Vec<String> = module.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let mut rest = path;
        loop {
            match rest.first().map(String::as_str) {
                Some("crate") => base.clear(),
                Some("super") => _ = base.pop(),
                Some("self") => {}
                _ => break,
            }
            rest = &rest[1..];
        }
        base.extend(rest.iter().filter(|part| *part != "self").cloned());
        base
    }

    /// Returns the file and the item that a path from the root names: no item for a module, `None` outside of the
    /// crate.
    fn resolve(&self, from: &str, path: &[String]) -> Option<(String, String)> {
        for length in (0..=path.len()).rev() {
            let module = path[..length].join("::");
            let Some(source) = self.sources.get(&module) else { continue };
            if length == 0 && from.is_empty() && !path.is_empty() {
                return None;
            }
            let item = path.get(length).cloned().unwrap_or_default();
            // If the module re-exports the item of a child, the item belongs to the child.
            for export in exports(source) {
                if export.last() == Some(&item) && export.len() > 1 {
                    let exported = self.absolute(&module, &export);
                    let inside = exported[..exported.len() - 1].join("::");
                    if inside != module && self.sources.contains_key(&inside) {
                        return Some((inside, item));
                    }
                }
            }
            return Some((module, item));
        }
        None
    }
}

fn collect(folder: &Path, module: &str, sources: &mut BTreeMap<String, String>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let inner = if module.is_empty() { name.clone() } else { format!("{module}::{name}") };
        if path.is_dir() {
            collect(&path, &inner, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let place = if matches!(&*name, "mod" | "lib" | "main") { module.to_owned() } else { inner };
            let text = fs::read_to_string(&path).unwrap();
            // Tests may import anything, and comments import nothing.
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let text = text.split("#[cfg(all(test").next().unwrap_or_default();
            let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            sources.insert(place, lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

fn parent(module: &str) -> Option<&str> {
    match module.rsplit_once("::") {
        Some((parent, _)) => Some(parent),
        None => (!module.is_empty()).then_some(""),
    }
}

/// Returns true for CamelCase, the names of types and traits.
fn is_type(item: &str) -> bool {
    item.is_empty() || (item.starts_with(char::is_uppercase) && item.contains(char::is_lowercase)) || item.len() == 1
}

/// Returns the paths of every private `use`, that is, without re-exports.
fn imports(source: &str) -> Vec<Vec<String>> {
    uses(source, false)
}

/// Returns the paths of every `pub use`.
fn exports(source: &str) -> Vec<Vec<String>> {
    uses(source, true)
}

fn uses(source: &str, is_public: bool) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for statement in source.split(';') {
        let Some(at) = statement.rfind("use ") else { continue };
        let (before, tree) = (&statement[..at], &statement[at + 4..]);
        let words: Vec<&str> = before.rsplit('\n').next().unwrap_or_default().split_whitespace().collect();
        let public = words.last().is_some_and(|word| word.starts_with("pub"));
        if !words.is_empty() && !public || public != is_public {
            continue;
        }
        spread(tree, &[], &mut paths);
    }
    paths
}

/// Expands a tree such as `a::{b, c::{self, d as e}}` into its paths.
fn spread(tree: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if let Some((head, rest)) = tree.split_once('{') {
        let mut prefix = prefix.to_vec();
        prefix.extend(head.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
        let inner = &rest[..rest.rfind('}').unwrap_or(rest.len())];
        let (mut depth, mut start) = (0, 0);
        for (at, character) in inner.char_indices().chain([(inner.len(), ',')]) {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !inner[start..at].trim().is_empty() {
                        spread(&inner[start..at], &prefix, paths);
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let name = tree.split(" as ").next().unwrap_or_default();
    let mut path = prefix.to_vec();
    path.extend(name.split("::").map(|part| part.trim().to_owned()));
    if path.last().is_some_and(|last| last != "*") {
        paths.push(path);
    }
}

/// Returns every path outside of `use` that begins with `crate::`, `super::` or `self::`.
fn inline_paths(source: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for line in source.lines().filter(|line| !line.trim_start().starts_with("use ") && !line.contains("pub(")) {
        for root in ["crate::", "super::"] {
            for (at, _) in line.match_indices(root) {
                if line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':') {
                    continue;
                }
                let end = line[at..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
                let path = &line[at..end.map_or(line.len(), |end| at + end)];
                paths.push(path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect());
            }
        }
    }
    paths
}

/// Returns the items used as `name::item`.
fn used_through(source: &str, name: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let needle = format!("{name}::");
    for line in source.lines().filter(|line| !line.trim_start().starts_with("use ") && !line.contains("pub use ")) {
        for (at, _) in line.match_indices(&needle) {
            if line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':') {
                continue;
            }
            let rest = &line[at + needle.len()..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            used.insert(rest[..end].to_owned());
        }
    }
    used
}

/// Returns a cycle of files, if there is one.
fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    fn visit<'a>(at: &'a str, arrows: &'a Arrows, path: &mut Vec<&'a str>, done: &mut BTreeSet<&'a str>) -> bool {
        if let Some(start) = path.iter().position(|before| *before == at) {
            path.drain(..start);
            path.push(at);
            return true;
        }
        if !done.insert(at) {
            return false;
        }
        path.push(at);
        for (target, _) in arrows.get(at).into_iter().flatten() {
            if visit(target, arrows, path, done) {
                return true;
            }
        }
        path.pop();
        false
    }
    let (mut path, mut done) = (Vec::new(), BTreeSet::new());
    arrows.keys().any(|at| visit(at, arrows, &mut path, &mut done)).then(|| {
        let named = |pair: &[&str]| {
            let items: Vec<&str> =
                arrows[pair[0]].iter().filter(|(to, _)| to == pair[1]).map(|(_, item)| &**item).collect();
            format!("{} → {} ({})", pair[0], pair[1], items.join(", "))
        };
        path.windows(2).map(named).collect()
    })
}

#[test]
fn imports_within_a_crate_form_no_cycle() {
    for name in ["attention", "attention-calls", "attention-node", "attention-wasm"] {
        let found = circle(&Crate::read(name).arrows());
        assert!(found.is_none(), "{name}: {}", found.unwrap_or_default().join("\n"));
    }
}

#[test]
fn kernels_import_from_mechanisms_to_mathematics_to_simd() {
    let height = |module: &str| match module.split("::").next().unwrap_or_default() {
        "simd" | "sizes" => 0,
        "error" | "tensor" | "scratch" | "context" | "memory" => 1,
        "math" | "ranges" => 2,
        "options" => 3,
        _ => 4,
    };
    for (module, arrows) in Crate::read("attention").arrows() {
        for (target, item) in arrows {
            assert!(height(&target) <= height(&module), "{module} imports {item} of {target}, which is above it");
        }
    }
}

#[test]
fn crates_depend_only_on_crates_below_them() {
    let manifest = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("Cargo.toml");
        let text = fs::read_to_string(path).unwrap();
        text.split("\n[dev-dependencies]").next().unwrap_or_default().to_owned()
    };
    let depends = |name: &str, on: &str| manifest(name).lines().any(|line| line.starts_with(&format!("{on} =")));
    assert!(!depends("attention", "ruvector-attention-calls"));
    assert!(!depends("attention", "ruvector-attention-oracle"));
    assert!(depends("attention-calls", "ruvector-attention"));
    for binding in ["attention-node", "attention-wasm"] {
        assert!(depends(binding, "ruvector-attention-calls"), "{binding}");
        assert!(!depends("attention-calls", &format!("ruvector-{binding}")), "{binding}");
        assert!(!depends(binding, "ruvector-attention-oracle"), "{binding}");
    }
}

#[test]
fn a_cycle_and_an_upward_arrow_are_found() {
    let sources = [
        ("", "mod a;\nmod b;"),
        ("a", "use crate::b::{self, helper, Type};\npub fn start() {}"),
        ("b", "use crate::a::Start;\npub fn helper() { crate::a::start() }"),
    ];
    let sources = sources.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let arrows = Crate { sources: sources.into() }.arrows();
    assert_eq!(arrows["a"], [("b".to_owned(), "helper".to_owned())].into());
    assert_eq!(arrows["b"], [("a".to_owned(), "start".to_owned())].into());
    assert_eq!(circle(&arrows).unwrap(), ["a → b (helper)", "b → a (start)"]);
}
