//! From the JSON of an option object to typed values, with faults told in the caller's terms: which option, what it takes,
//! what it was.

use std::fmt::{self, Display};

use crate::error::{Code, Error, Result};
use crate::json::{Json, Value};

/// Gives every option that is there to `take`; nothing at all means that every option is absent, as does `null` for one.
///
/// A name that is not `known` is an error. Those in `beside` are known to the caller, though they come as arrays beside the
/// JSON, and are suggested for misspelt ones.
pub fn read_options(
    json: Option<&str>,
    known: &[&str],
    beside: &[&str],
    take: &mut dyn FnMut(&Given<'_>) -> Result<()>,
) -> Result<()> {
    let text = json.unwrap_or("{}");
    let json = Json::parse(text)
        .map_err(|at| Error::new(Code::Internal, "options", "a JSON text", format_args!("{text} up to byte {at}")))?;
    let Some(members) = json.members() else {
        return Err(Error::option("options", "an object", Written(&json)));
    };
    for (name, json) in members {
        if !known.contains(&&**name) {
            let nearest = nearest(name, known.iter().chain(beside).copied()).unwrap_or_default();
            let expected = format!("a known option; the nearest is '{nearest}'");
            return Err(Error::option(&**name, expected, "an unknown name"));
        }
        if json.value != Value::Null {
            take(&Given { name, json })?;
        }
    }
    Ok(())
}

/// Reads the options that `$json` holds into the fields of `$options`: each name, its field, and what reads it.
macro_rules! read_into {
    ($options:ident, $json:expr, $beside:expr, $known:expr, { $($name:literal => $field:ident: $read:expr,)* }) => {{
        const NAMES: &[&str] = &[$($name),*];
        read_options($json, &NAMES[..$known(NAMES.len())], $beside, &mut |given| {
            match given.name {
                $($name => $options.$field = $read(given)?,)*
                // Names without a reader do not come through.
                _ => {}
            }
            Ok(())
        })
    }};
}
pub(crate) use read_into;

/// An option as it was given.
pub struct Given<'a> {
    /// Its name.
    pub name: &'a str,
    json: &'a Json<'a>,
}

/// The largest integer up to which doubles hold every one.
const LARGEST_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

impl Given<'_> {
    /// The error that the option is not what it has to be.
    #[cold]
    pub fn fault(&self, expected: &str) -> Error {
        Error::option(self.name, expected, Written(self.json))
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Result<bool> {
        match self.json.value {
            Value::Boolean(value) => Ok(value),
            _ => Err(self.fault("a boolean")),
        }
    }

    /// A finite number in f32 that `range` holds.
    pub fn number(&self, range: std::ops::Range<f32>, expected: &str) -> Result<f32> {
        let number = self.json.number().map(|number| number as f32);
        number.filter(|number| range.contains(number)).ok_or_else(|| self.fault(expected))
    }

    /// A number in f64 that `range` holds.
    pub fn double(&self, range: std::ops::Range<f64>, expected: &str) -> Result<f64> {
        self.json.number().filter(|number| range.contains(number)).ok_or_else(|| self.fault(expected))
    }

    /// The text of an option that is an object of options itself.
    pub fn object(&self, expected: &str) -> Result<&str> {
        self.json.members().map(|_| self.json.text).ok_or_else(|| self.fault(expected))
    }

    /// An integer that a double holds exactly, at least `least` and at most `most`.
    pub fn integer(&self, least: i64, most: i64, expected: &str) -> Result<i64> {
        integer(self.json).filter(|integer| (least..=most).contains(integer)).ok_or_else(|| self.fault(expected))
    }

    /// Two such integers.
    pub fn pair(&self, least: i64, expected: &str) -> Result<[i64; 2]> {
        let side = |json| integer(json).filter(|&side| side >= least);
        match self.json.items() {
            Some([left, right]) => side(left).zip(side(right)).map(|(left, right)| [left, right]),
            _ => None,
        }
        .ok_or_else(|| self.fault(expected))
    }

    /// The position of the option's text among `names`.
    pub fn choice(&self, names: &[&str]) -> Result<usize> {
        let position = self.json.string().and_then(|text| names.iter().position(|name| *name == text));
        position.ok_or_else(|| self.fault(&alternatives(names)))
    }
}

fn integer(json: &Json<'_>) -> Option<i64> {
    let number = json.number()?;
    (number.trunc() == number && number.abs() <= LARGEST_SAFE_INTEGER).then_some(number as i64)
}

/// `'a', 'b' or 'c'`.
pub fn alternatives(names: &[&str]) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        let separator = match index {
            0 => "",
            _ if index + 1 == names.len() => " or ",
            _ => ", ",
        };
        for part in [separator, "'", name, "'"] {
            text.push_str(part);
        }
    }
    text
}

/// The candidate with the smallest edit distance to `name`, the earliest of equals; case, `_` and `-` do not count.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = folded(name);
    candidates.into_iter().min_by_key(|candidate| distance(&name, &folded(candidate)))
}

/// `name` in the one spelling in which names are compared; capped, as a name of any length may arrive.
fn folded(name: &str) -> Vec<u8> {
    name.bytes().filter(|byte| !matches!(byte, b'_' | b'-')).take(64).map(|byte| byte.to_ascii_lowercase()).collect()
}

/// Levenshtein's distance: the insertions, deletions and substitutions that turn `a` into `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A value as the caller wrote it: JSON, but for the numbers that JSON cannot hold and for texts too long to repeat.
struct Written<'a>(&'a Json<'a>);

impl Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        if let Some(text @ ("NaN" | "Infinity" | "-Infinity")) = self.0.string() {
            return f.write_str(text);
        }
        let text = self.0.text;
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => f.write_str(text.get(..end).unwrap_or_default()).and_then(|()| f.write_str("…")),
            None => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_ignores_case_and_separators() {
        let known = ["causal", "scale", "queryOffset", "window"];
        assert_eq!(nearest("isCausal", known), Some("causal"));
        assert_eq!(nearest("query_offset", known), Some("queryOffset"));
        assert_eq!(nearest("windw", known), Some("window"));
        assert_eq!(nearest("", known), Some("scale"));
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn alternatives_read_as_a_sentence() {
        assert_eq!(alternatives(&["a"]), "'a'");
        assert_eq!(alternatives(&["a", "b"]), "'a' or 'b'");
        assert_eq!(alternatives(&["a", "b", "c"]), "'a', 'b' or 'c'");
    }

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b""), 3);
        assert_eq!(distance(b"same", b"same"), 0);
    }

    #[test]
    fn long_values_are_shortened_in_errors() {
        let text = format!("\"{}\"", "é".repeat(500));
        assert_eq!(Written(&Json::parse(&text).unwrap()).to_string().chars().count(), 61);
    }
}
