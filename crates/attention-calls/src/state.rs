//! State dicts in the form that the bindings pass: a JSON list of names and shapes, and a list of arrays.

use std::borrow::Cow;

use ruvector_attention::layers::{StoredEntry, TypedEntry};
use ruvector_attention::math::weight::{GROUP, OwnedWeights, Quantized, WeightType, Weights};
#[cfg(feature = "training")]
use ruvector_attention::tensor::try_zeroed;
use ruvector_attention::tensor::{Shape, check_output};
use ruvector_attention::{Code, Error, Result, Tensor};

use crate::json::{Json, push_sizes, push_string};

/// An entry of a state dict as it was passed. Other types than 32-bit floats are passed as words of 32 bits: halves in
/// pairs; 8 bits in fours, followed by the scales in pairs.
pub struct ParsedEntry<'a> {
    name: String,
    shape: Vec<usize>,
    data: Parsed<'a>,
}

enum Parsed<'a> {
    Floats(&'a [f32]),
    Other(OwnedWeights),
}

impl ParsedEntry<'_> {
    /// Returns the entry with borrowed data.
    pub fn borrow(&self) -> TypedEntry<'_> {
        let data = match &self.data {
            Parsed::Floats(data) => Weights::F32(data),
            Parsed::Other(weights) => weights.borrow(),
        };
        TypedEntry { name: Cow::Borrowed(&self.name), shape: self.shape.clone(), data }
    }
}

/// Parses a JSON list of `{ "name", "shape" }`, and of `type` for other types than 32-bit floats, into entries over
/// `data`, which is in the same order.
pub fn parse_entries<'a>(json: &str, data: &[&'a [f32]]) -> Result<Vec<ParsedEntry<'a>>> {
    let malformed = |actual: usize| Error::new(Code::Internal, "entries", "a list of names and shapes", actual);
    let json = Json::parse(json).map_err(malformed)?;
    let described = json.items().filter(|items| items.len() == data.len()).ok_or_else(|| malformed(data.len()))?;
    let mut entries = Vec::with_capacity(data.len());
    for (description, &data) in described.iter().zip(data) {
        let (name, shape) = (description.member("name").and_then(Json::string), description.member("shape"));
        let (Some(name), Some(given)) = (name, shape) else { return Err(malformed(entries.len())) };
        // An empty tensor may have dimensions beyond the address range of a smaller machine.
        let shape = given
            .sizes()
            .ok_or_else(|| Error::shape(name, format_args!("dimensions of at most {}", usize::MAX), given.text))?;
        let data = match description.member("type").and_then(Json::string) {
            None => {
                Tensor::new(name, data, &shape)?;
                Parsed::Floats(data)
            }
            Some(kind) => Parsed::Other(from_words(name, kind, &Shape::new(name, &shape)?, data)?),
        };
        entries.push(ParsedEntry { name: name.to_owned(), shape, data });
    }
    Ok(entries)
}

/// Returns the numbers of integers or halves, and of scales, of a tensor.
fn counts(shape: &Shape) -> [usize; 2] {
    let (rows, columns) = shape.rows_and_columns();
    [rows * columns, rows * columns.div_ceil(GROUP)]
}

/// Returns the number of words in which a tensor of another type than 32-bit floats is passed.
fn count_words(is_quantized: bool, [count, groups]: [usize; 2]) -> usize {
    if is_quantized { count.div_ceil(4) + groups.div_ceil(2) } else { count.div_ceil(2) }
}

/// Copies the elements of entry `index`, or its words if it has another type than 32-bit floats.
///
/// # Errors
/// `MEMORY`.
#[cfg(feature = "training")]
pub fn copy_entry(entries: &[StoredEntry<'_>], index: usize) -> Result<Vec<f32>> {
    let entry = &entries[index];
    let count = match entry.weight_type() {
        WeightType::F32 => entry.elements(),
        other => count_words(other == WeightType::Q8, counts(&Shape::new(&entry.name, &entry.shape)?)),
    };
    let mut words = try_zeroed(&entry.name, count)?;
    read_entry(entries, index, &mut words)?;
    Ok(words)
}

/// Reads weights from words.
fn from_words(name: &str, kind: &str, shape: &Shape, words: &[f32]) -> Result<OwnedWeights> {
    let [count, groups] = counts(shape);
    if words.len() != count_words(kind == "q8_0", [count, groups]) {
        return Err(Error::shape(name, format_args!("data of shape {shape}"), format_args!("{} words", words.len())));
    }
    // Whole words, so that the compiler copies vectors.
    let halves = |words: &[f32], count: usize| {
        let mut halves = vec![0; 2 * words.len()];
        for (word, pair) in words.iter().zip(halves.chunks_exact_mut(2)) {
            let bits = word.to_bits();
            pair.copy_from_slice(&[bits as u16, (bits >> 16) as u16]);
        }
        halves.truncate(count);
        halves
    };
    if kind != "q8_0" {
        let bits = halves(words, count);
        return Ok(if kind == "bf16" { OwnedWeights::Bf16(bits) } else { OwnedWeights::F16(bits) });
    }
    let (values, scales) = words.split_at(count.div_ceil(4));
    let mut integers = vec![0; 4 * values.len()];
    for (word, four) in values.iter().zip(integers.chunks_exact_mut(4)) {
        four.copy_from_slice(&word.to_bits().to_le_bytes().map(|byte| byte as i8));
    }
    integers.truncate(count);
    Ok(OwnedWeights::Q8(integers, halves(scales, groups)))
}

/// Writes names, shapes and types of the entries as a JSON list of `{ "name", "shape", "type" }`.
pub fn describe_entries(entries: &[StoredEntry<'_>]) -> String {
    let mut json = String::from("[");
    for entry in entries {
        json.push_str(if json.len() > 1 { ",{\"name\":" } else { "{\"name\":" });
        push_string(&mut json, &entry.name);
        json.push_str(",\"shape\":");
        push_sizes(&mut json, &entry.shape);
        json.push_str(match entry.weight_type() {
            WeightType::F32 => "",
            WeightType::F16 => ",\"type\":\"f16\"",
            WeightType::Bf16 => ",\"type\":\"bf16\"",
            WeightType::Q8 => ",\"type\":\"q8_0\"",
        });
        json.push('}');
    }
    json.push(']');
    json
}

/// Copies the elements of entry `index` to `output`, or its words if it has another type than 32-bit floats.
pub fn read_entry(entries: &[StoredEntry<'_>], index: usize, output: &mut [f32]) -> Result<()> {
    let entry = entries.get(index).ok_or_else(|| {
        Error::new(Code::Internal, "index", format_args!("less than {} entries", entries.len()), index)
    })?;
    entry.visit(&mut |weights| write_words(weights, output))
}

/// Writes weights to words: 32-bit floats as they are, and others as [`ParsedEntry`] has them.
fn write_words(weights: Weights<'_>, output: &mut [f32]) -> Result<()> {
    let write_halves = |bits: &[u16], output: &mut [f32]| {
        for (pair, word) in bits.chunks(2).zip(output) {
            let high = pair.get(1).copied().unwrap_or(0);
            *word = f32::from_bits(u32::from(pair[0]) | u32::from(high) << 16);
        }
    };
    match weights {
        Weights::F32(data) => {
            check_output("output", output, data.len())?;
            output.copy_from_slice(data);
        }
        Weights::F16(bits) | Weights::Bf16(bits) => {
            check_output("output", output, bits.len().div_ceil(2))?;
            write_halves(bits, output);
        }
        Weights::Q8(Quantized { values, scales }) => {
            let words = values.len().div_ceil(4);
            check_output("output", output, words + scales.len().div_ceil(2))?;
            for (bytes, word) in values.chunks(4).zip(&mut *output) {
                let mut four = [0; 4];
                four.iter_mut().zip(bytes).for_each(|(to, &byte)| *to = byte as u8);
                *word = f32::from_bits(u32::from_le_bytes(four));
            }
            write_halves(scales, &mut output[words..]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_a_round_trip_through_their_description() {
        let (a, b) = ([1.0, 2.0], [3.0]);
        let json = r#"[{"name":"a \"b\"","shape":[1,2]},{"name":"c","shape":[]}]"#;
        let entries = parse_entries(json, &[&a, &b]).unwrap();
        let entries: Vec<_> = entries.iter().map(ParsedEntry::borrow).collect();
        assert_eq!((&*entries[0].name, &*entries[0].shape), ("a \"b\"", &[1, 2][..]));
        let stored: Vec<_> = entries.iter().map(StoredEntry::from).collect();
        assert_eq!(describe_entries(&stored), json);
        let mut read = [0.0; 2];
        read_entry(&stored, 0, &mut read).unwrap();
        assert_eq!(read, a);
        assert_eq!(read_entry(&stored, 1, &mut read).unwrap_err().code, Code::Shape);
        assert_eq!(read_entry(&stored, 2, &mut read).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn entries_of_every_type_survive_as_words() {
        let halves = [1, 0xffff, 0x7e00];
        let (values, scales) = ([-127, 1, 2, 3, -4].repeat(7), [0x3c00, 1, 7, 0x8001]);
        let entry =
            |name: &'static str, shape: &[usize], data| TypedEntry { name: name.into(), shape: shape.to_vec(), data };
        let entries = [
            entry("a", &[3], Weights::F16(&halves)),
            entry("b", &[3], Weights::Bf16(&halves)),
            entry("c", &[1, 35], Weights::Q8(Quantized { values: &values, scales: &scales[..2] })),
        ];
        let stored = entries.each_ref().map(StoredEntry::from);
        let json = describe_entries(&stored);
        let mut words = [vec![0.0; 2], vec![0.0; 2], vec![0.0; 10]];
        for (index, words) in words.iter_mut().enumerate() {
            read_entry(&stored, index, words).unwrap();
        }
        let words: Vec<&[f32]> = words.iter().map(|words| &words[..]).collect();
        let parsed = parse_entries(&json, &words).unwrap();
        for (parsed, entry) in parsed.iter().zip(&entries) {
            assert_eq!(format!("{:?}", parsed.borrow()), format!("{entry:?}"));
        }
    }

    #[test]
    fn an_entry_whose_data_does_not_fit_its_shape_is_reported_by_name() {
        let error = parse_entries(r#"[{"name":"x.weight","shape":[3]}]"#, &[&[1.0]]).err().unwrap();
        assert_eq!((error.code, error.argument.as_str()), (Code::Shape, "x.weight"));
        assert_eq!(parse_entries("[]", &[&[1.0]]).err().unwrap().code, Code::Internal);
        assert_eq!(parse_entries("{", &[]).err().unwrap().code, Code::Internal);
    }
}
