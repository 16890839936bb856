//! A JSON reader for options and state dicts. A general library would take a third of the WebAssembly module, and would
//! lose the source text of each value, which errors repeat.

use std::borrow::Cow;
use std::fmt::Write;

use ruvector_attention::math::decimal::scaled;

/// A value together with its source text.
#[derive(Debug, Clone, PartialEq)]
pub struct Json<'a> {
    /// The source text, without surrounding spaces.
    pub text: &'a str,
    /// The parsed value.
    pub value: Value<'a>,
}

/// A parsed JSON value. Members of an object keep their order, and names may repeat.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number; its value must be read from the text.
    Number,
    /// A string with its escapes resolved.
    String(Cow<'a, str>),
    /// A list.
    Array(Vec<Json<'a>>),
    /// Names and values.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// The maximum nesting depth of lists and objects.
const DEEPEST: usize = 64;

impl<'a> Json<'a> {
    /// Reads a whole text; the error is the index of the byte where it stops being JSON.
    pub fn parse(text: &'a str) -> Result<Self, usize> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        match reader.value() {
            Some(json) if reader.peek().is_none() => Ok(json),
            _ => Err(reader.at),
        }
    }

    /// Returns true for `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Returns the items of a list.
    pub fn items(&self) -> Option<&[Json<'a>]> {
        match &self.value {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the text of a string.
    pub fn string(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the members of an object.
    pub fn members(&self) -> Option<&[(Cow<'a, str>, Json<'a>)]> {
        match &self.value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Returns the member with this name, the first one if it repeats.
    #[inline(never)]
    pub fn member(&self, name: &str) -> Option<&Json<'a>> {
        self.members()?.iter().find_map(|(found, value)| (found == name).then_some(value))
    }

    fn is_number(&self) -> bool {
        matches!(self.value, Value::Number)
    }

    /// Returns a number, to within a few units in the last place; exact for integers up to 2⁵³.
    pub fn number(&self) -> Option<f64> {
        if !self.is_number() {
            return None;
        }
        let (mantissa, exponent) = self.text.split_once(['e', 'E']).unwrap_or((self.text, ""));
        let mut exponent = exponent.bytes().fold((0i32, 1), |(value, sign), byte| match byte {
            b'-' => (value, -1),
            b'+' => (value, sign),
            // Beyond the range of doubles in either direction.
            digit => ((value * 10 + i32::from(digit - b'0')).min(10_000), sign),
        });
        exponent.0 *= exponent.1;
        let (mut digits, mut exponent, mut in_fraction) = (0u64, exponent.0, false);
        for byte in mantissa.bytes() {
            match byte {
                b'-' => {}
                b'.' => in_fraction = true,
                digit if digits < 10u64.pow(18) => {
                    digits = digits * 10 + u64::from(digit - b'0');
                    exponent -= i32::from(in_fraction);
                }
                // Digits beyond the precision of doubles.
                _ => exponent += i32::from(!in_fraction),
            }
        }
        let magnitude = scaled(digits, exponent);
        Some(if mantissa.starts_with('-') { -magnitude } else { magnitude })
    }

    /// Returns a number written as a plain non-negative integer, if it fits `usize`.
    pub fn size(&self) -> Option<usize> {
        if !self.is_number() || !self.text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.text.bytes().try_fold(0usize, |size, digit| size.checked_mul(10)?.checked_add(usize::from(digit - b'0')))
    }

    /// Returns a list of such integers.
    pub fn sizes(&self) -> Option<Vec<usize>> {
        self.items()?.iter().map(Json::size).collect()
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Returns the next byte that is not a space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                &byte => return Some(byte),
            }
        }
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    fn value(&mut self) -> Option<Json<'a>> {
        let first = self.peek()?;
        let start = self.at;
        let value = match first {
            b'n' => self.word("null", Value::Null)?,
            b't' => self.word("true", Value::Boolean(true))?,
            b'f' => self.word("false", Value::Boolean(false))?,
            b'"' => Value::String(self.string()?),
            b'[' => Value::Array(self.list(b']', Self::value)?),
            b'{' => Value::Object(self.list(b'}', |reader| {
                reader.peek()?;
                let name = reader.string()?;
                reader.take(b':')?;
                Some((name, reader.value()?))
            })?),
            _ => self.number()?,
        };
        Some(Json { text: self.text.get(start..self.at)?, value })
    }

    /// Skips `word` and returns true if the text continues with it.
    fn skip(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Option<Value<'a>> {
        self.skip(word).then_some(value)
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    fn number(&mut self) -> Option<Value<'a>> {
        let bytes = self.text.as_bytes();
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let digits = |at: &mut usize| {
            let start = *at;
            while byte(*at).is_ascii_digit() {
                *at += 1;
            }
            (*at > start).then_some(start)
        };
        let mut at = self.at + usize::from(byte(self.at) == b'-');
        let start = digits(&mut at)?;
        if byte(start) == b'0' && at > start + 1 {
            return None;
        }
        if byte(at) == b'.' {
            at += 1;
            digits(&mut at)?;
        }
        if matches!(byte(at), b'e' | b'E') {
            at += 1 + usize::from(matches!(byte(at + 1), b'+' | b'-'));
            digits(&mut at)?;
        }
        self.at = at;
        Some(Value::Number)
    }

    /// Reads the items before the closing bracket `end`, separated by commas.
    fn list<T>(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        self.at += 1;
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        if self.peek()? != end {
            loop {
                items.push(item(self)?);
                if self.peek()? != b',' {
                    break;
                }
                self.at += 1;
            }
        }
        self.take(end)?;
        self.depth -= 1;
        Some(items)
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        let text = self.text;
        if text.as_bytes()[self.at] != b'"' {
            return None;
        }
        self.at += 1;
        let mut resolved = String::new();
        let mut start = self.at;
        loop {
            match *text.as_bytes().get(self.at)? {
                b'"' => {
                    let rest = text.get(start..self.at)?;
                    self.at += 1;
                    if resolved.is_empty() {
                        return Some(Cow::Borrowed(rest));
                    }
                    resolved.push_str(rest);
                    return Some(Cow::Owned(resolved));
                }
                b'\\' => {
                    resolved.push_str(text.get(start..self.at)?);
                    resolved.push(self.escape()?);
                    start = self.at;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let kind = *self.text.as_bytes().get(self.at + 1)?;
        self.at += 2;
        Some(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut code = self.unit()?;
                if (0xd800..0xdc00).contains(&code) && self.skip("\\u") {
                    let low = self.unit()?.wrapping_sub(0xdc00);
                    code = if low < 0x400 { 0x10000 + ((code - 0xd800) << 10) + low } else { code };
                }
                // An unpaired surrogate is not a character.
                char::from_u32(code)?
            }
            _ => return None,
        })
    }

    /// Reads four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |code, &digit| Some(code * 16 + char::from(digit).to_digit(16)?))
    }
}

/// Appends `text` as a JSON string.
pub fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..' ' => {
                // Writing to a String cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}

/// Appends `sizes` as a JSON list.
pub fn push_sizes(json: &mut String, sizes: &[usize]) {
    json.push('[');
    for (index, size) in sizes.iter().enumerate() {
        let _ = write!(json, "{}{size}", if index == 0 { "" } else { "," });
    }
    json.push(']');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Converts a value for serde_json, which serves as an independent reference.
    fn translated(json: &Json<'_>) -> serde_json::Value {
        match &json.value {
            Value::Null => serde_json::Value::Null,
            Value::Boolean(value) => (*value).into(),
            Value::Number => serde_json::from_str(json.text).unwrap(),
            Value::String(text) => text.clone().into(),
            Value::Array(items) => items.iter().map(translated).collect(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| (name.to_string(), translated(value))).collect()
            }
        }
    }

    /// Asserts that both parsers read the same value, or both reject the text.
    fn agree(text: &str) {
        match (Json::parse(text), serde_json::from_str::<serde_json::Value>(text)) {
            (Ok(found), Ok(expected)) => assert_eq!(translated(&found), expected, "{text:?}"),
            (Err(_), Err(_)) => {}
            // A number that overflows is still valid JSON.
            (Ok(_), Err(fault)) if fault.to_string().contains("out of range") => {}
            (found, expected) => panic!("{text:?}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn edge_cases_of_the_grammar_parse_like_in_serde_json() {
        for text in [
            "",
            " ",
            "null",
            "nul",
            "nulll",
            "true",
            "false",
            "tru",
            "[]",
            "[ ]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1,2",
            "{}",
            "{ }",
            "{\"a\":1}",
            "{\"a\" : 1 , \"b\":[]}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\"}",
            "{\"a\":}",
            "{1:1}",
            "{\"a\":1",
            "0",
            "-0",
            "-",
            "+1",
            "01",
            "-01",
            "1.",
            ".5",
            "1.5",
            "1.5e",
            "1e5",
            "1E+5",
            "1e-5",
            "1e+",
            "0e0",
            "00",
            "1.2.3",
            "1e400",
            "\"\"",
            "\"",
            "\"a",
            "\"\\\"",
            "\"\\\\\"",
            "\"\\n\\t\\b\\f\\r\\/\"",
            "\"\\x\"",
            "\"\\u00e9\"",
            "\"\\u12\"",
            "\"\\u123g\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ud83d\\n\"",
            "\"\\ud83d\\u0041\"",
            "\"\\ude00\"",
            "\"é😀\"",
            "\"a\u{1}\"",
            "\"\u{7f}\"",
            "\u{feff}{}",
            "[1]x",
            " [ 1 , \"a\\u0020b\" , null ] ",
            "NaN",
            "Infinity",
            "'a'",
            "é",
            "[\"\\",
        ] {
            agree(text);
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_like_in_serde_json(text in "[\\[\\]{}\",:0-9a-e.+\\\\ -]{0,40}") {
            agree(&text);
        }

        #[test]
        fn any_string_survives_quoting_and_parsing(text in any::<String>()) {
            let mut json = String::new();
            push_string(&mut json, &text);
            let read = Json::parse(&json).unwrap();
            prop_assert_eq!(read.string(), Some(&*text));
            agree(&json);
        }

        #[test]
        fn doubles_are_read_to_within_a_few_units(number in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            let text = format!("{number:e}");
            let found = Json::parse(&text).unwrap().number().unwrap();
            prop_assert!((found - number).abs() <= 4.0 * f64::EPSILON * number.abs() + f64::MIN_POSITIVE, "{text} is {found}");
        }

        #[test]
        fn integers_and_short_decimals_are_exact(number in -(1i64 << 53)..=1 << 53, decimals in 0i32..=15) {
            let found = |text: &str| Json::parse(text).unwrap().number().unwrap();
            prop_assert_eq!(found(&number.to_string()), number as f64);
            let text = format!("{number}e-{decimals}");
            prop_assert_eq!(found(&text), text.parse::<f64>().unwrap());
        }
    }

    #[test]
    fn numbers_beyond_doubles_are_infinite_or_zero() {
        let number = |text| Json::parse(text).unwrap().number();
        assert_eq!(number("1e400"), Some(f64::INFINITY));
        assert_eq!(number("-1e99999999999"), Some(f64::NEG_INFINITY));
        assert_eq!(number("1e-99999999999"), Some(0.0));
        assert_eq!(number("0e99999999999"), Some(0.0));
        assert_eq!(number("123456789012345678901234567890"), Some(123_456_789_012_345_678_901_234_567_890.0));
        assert_eq!(number("true"), None);
    }

    #[test]
    fn sizes_are_plain_integers_that_fit() {
        let size = |text| Json::parse(text).unwrap().size();
        assert_eq!(size("18446744073709551615"), Some(usize::MAX));
        assert_eq!(size("18446744073709551616"), None);
        assert_eq!((size("-1"), size("1.0"), size("1e3"), size("\"1\"")), (None, None, None, None));
        assert_eq!(Json::parse("[2,0]").unwrap().sizes(), Some(vec![2, 0]));
        assert_eq!(Json::parse("[2,-1]").unwrap().sizes(), None);
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::parse(&nested(DEEPEST)).is_ok());
        assert_eq!(Json::parse(&nested(DEEPEST + 1)), Err(DEEPEST + 1));
        assert!(Json::parse(&"[".repeat(1_000_000)).is_err());
    }
}
