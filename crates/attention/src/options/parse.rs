//! From the JSON of an option object to its struct, with faults told in the caller's terms: which option, what it
//! takes, what it was.

use std::borrow::Cow;
use std::fmt::{self, Display};

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, Visitor,
};

use crate::error::{Code, Error, Result};
use crate::json::{Json, Value};

/// The names of an option object where they differ from its struct's fields.
#[derive(Clone, Copy, Default)]
pub struct Names {
    /// Known to the caller, but passed as arrays beside the JSON; suggested for misspelt names.
    pub beside: &'static [&'static str],
    /// Fields that this function does not take: unknown here.
    pub without: &'static [&'static str],
}

/// The options that `json` holds; nothing at all means that every option is absent, as does `null` for one option.
pub fn parse<T: DeserializeOwned>(json: Option<&str>, names: Names) -> Result<T> {
    let text = json.unwrap_or("{}");
    let json = Json::parse(text)
        .map_err(|at| Error::new(Code::Internal, "options", "a JSON text", format_args!("{text} that ends at {at}")))?;
    let Some(members) = json.members() else {
        return Err(Error::option("options", "an object", Written(&json)));
    };
    T::deserialize(ObjectDeserializer { members, without: names.without }).map_err(|fault| fault.into_error(names))
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
pub struct Written<'a>(pub &'a Json<'a>);

impl Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        match self.0.string() {
            Some(text @ ("NaN" | "Infinity" | "-Infinity")) => f.write_str(text),
            _ => match self.0.text.char_indices().nth(LONGEST) {
                Some((end, _)) => write!(f, "{}…", &self.0.text[..end]),
                None => f.write_str(self.0.text),
            },
        }
    }
}

type Found<T> = std::result::Result<T, Fault>;

/// What serde found wrong. `argument` and `actual` are filled in on the way out, where the field's name is known.
#[derive(Debug, Default)]
struct Fault {
    argument: String,
    expected: String,
    actual: String,
    /// For an unknown name: the names there are.
    known: &'static [&'static str],
}

impl Fault {
    fn expecting(expected: impl Display) -> Self {
        Self { expected: expected.to_string(), ..Self::default() }
    }

    fn at(mut self, name: &str, value: &Json<'_>) -> Self {
        if self.argument.is_empty() {
            self.argument = name.to_owned();
            self.actual = Written(value).to_string();
        }
        self
    }

    fn into_error(self, names: Names) -> Error {
        if self.known.is_empty() {
            return Error::option(self.argument, self.expected, self.actual);
        }
        let known = self.known.iter().filter(|name| !names.without.contains(name)).chain(names.beside).copied();
        let nearest = nearest(&self.argument, known).unwrap_or_default();
        Error::option(self.argument, format!("a known option; the nearest is '{nearest}'"), "an unknown name")
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expected)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::expecting(message)
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expecting(expected)
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expecting(expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::expecting(expected)
    }

    fn unknown_variant(_: &str, variants: &'static [&'static str]) -> Self {
        let mut expected = String::new();
        for (index, variant) in variants.iter().enumerate() {
            let separator = match index {
                0 => "",
                _ if index + 1 == variants.len() => " or ",
                _ => ", ",
            };
            expected.extend([separator, "'", variant, "'"]);
        }
        Self::expecting(expected)
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self { argument: name.to_owned(), known, ..Self::default() }
    }

    fn missing_field(name: &'static str) -> Self {
        Self { argument: name.to_owned(), expected: "a value".to_owned(), actual: "nothing".to_owned(), known: &[] }
    }
}

type Members<'a> = &'a [(Cow<'a, str>, Json<'a>)];

/// The option object itself.
struct ObjectDeserializer<'a> {
    members: Members<'a>,
    without: &'static [&'static str],
}

impl<'de> Deserializer<'de> for ObjectDeserializer<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Found<V::Value> {
        visitor.visit_map(Fields { members: self.members, current: None, known, without: self.without })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Its fields, one after the other.
struct Fields<'a> {
    members: Members<'a>,
    current: Option<(&'a str, &'a Json<'a>)>,
    known: &'static [&'static str],
    without: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Found<Option<K::Value>> {
        while let Some(((name, value), rest)) = self.members.split_first() {
            self.members = rest;
            if self.without.contains(&&**name) {
                return Err(de::Error::unknown_field(name, self.known));
            }
            // A misspelt name is told even where its value is `null`.
            if value.value == Value::Null && self.known.contains(&&**name) {
                continue;
            }
            self.current = Some((name, value));
            return seed.deserialize(StrDeserializer::new(name)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Found<V::Value> {
        let (name, value) = self.current.take().ok_or_else(|| Fault::expecting("a name before its value"))?;
        seed.deserialize(ValueDeserializer(value)).map_err(|fault| fault.at(name, value))
    }
}

/// The value of one option.
struct ValueDeserializer<'a>(&'a Json<'a>);

impl<'de> IntoDeserializer<'de, Fault> for ValueDeserializer<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for ValueDeserializer<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        match &self.0.value {
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Number => visitor.visit_f64(self.0.number().unwrap_or(f64::NAN)),
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(ValueDeserializer))),
            // No option is an object, nor `null` inside a list.
            Value::Null | Value::Object(_) => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Found<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Found<V::Value> {
        match self.0.string() {
            Some(text) => visitor.visit_enum(StrDeserializer::new(text)),
            None => Err(de::Error::unknown_variant("", variants)),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
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
