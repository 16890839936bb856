//! Safetensors files: an index over the bytes that trusts nothing they say, and a writer.

use std::fmt;
use std::ops::Range;

use ::safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::Entry;
use super::half::{widen_bf16, widen_f16};
use crate::error::{Code, Error, Result};
use crate::tensor::{MAX_RANK, check_output};

const LENGTH_BYTES: usize = 8;

/// What a safetensors file holds, without its data; it borrows nothing, so that whoever owns the bytes may own the
/// index too.
pub struct SafetensorsIndex {
    tensors: Vec<Located>,
}

/// A tensor and the bytes where it lies.
#[derive(Serialize)]
struct Located {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    #[serde(skip)]
    bytes: Range<usize>,
}

impl SafetensorsIndex {
    /// Reads and checks the header of the file `bytes`; a `FORMAT` error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let (header_length, metadata) = SafeTensors::read_metadata(bytes).map_err(|fault| match text_start(bytes) {
            Some(text) => malformed(format_args!("a text that begins with {text:?}")),
            None => malformed(fault),
        })?;
        let start = LENGTH_BYTES + header_length;
        refuse_duplicates(&bytes[LENGTH_BYTES..start])?;
        let mut tensors = Vec::new();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let (first, end) = info.data_offsets;
            // The sums that the parser checks may wrap in 32 bits.
            match (start.checked_add(first), start.checked_add(end)) {
                (Some(first), Some(end)) if first <= end && end <= bytes.len() => {
                    tensors.push(Located { name, shape: info.shape.clone(), dtype: info.dtype, bytes: first..end });
                }
                _ => return Err(malformed(format_args!("offsets of '{name}' outside the file"))),
            }
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { tensors })
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The tensors as a JSON list of `{ "name", "shape", "dtype" }`, sorted by name.
    pub fn describe(&self) -> String {
        // Names and numbers: serialisation has nothing that can fail.
        serde_json::to_string(&self.tensors).unwrap_or_default()
    }

    /// Writes tensor `index` of the file `bytes` to `output`, F16 and BF16 widened; `bytes` is what the index was made
    /// of.
    pub fn read(&self, bytes: &[u8], index: usize, output: &mut [f32]) -> Result<()> {
        let tensor = self.tensors.get(index).ok_or_else(|| {
            Error::new(Code::Internal, "index", format!("less than {} entries", self.tensors.len()), index)
        })?;
        let width = match tensor.dtype {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
            other => return Err(Error::new(Code::Format, &*tensor.name, "elements of type F32, F16 or BF16", other)),
        };
        if tensor.shape.len() > MAX_RANK {
            let expected = format!("at most {MAX_RANK} dimensions");
            return Err(Error::new(Code::Format, &*tensor.name, expected, tensor.shape.len()));
        }
        let source = bytes
            .get(tensor.bytes.clone())
            .ok_or_else(|| Error::new(Code::Internal, "bytes", "the bytes that the index was made of", "fewer"))?;
        check_output("output", output, source.len() / width)?;
        match tensor.dtype {
            Dtype::F32 => fill(output, source, f32::from_le_bytes),
            Dtype::F16 => fill(output, source, |bytes| widen_f16(u16::from_le_bytes(bytes))),
            _ => fill(output, source, |bytes| widen_bf16(u16::from_le_bytes(bytes))),
        }
        Ok(())
    }
}

fn fill<const WIDTH: usize>(output: &mut [f32], source: &[u8], element: impl Fn([u8; WIDTH]) -> f32) {
    for (value, &bytes) in output.iter_mut().zip(source.as_chunks().0) {
        *value = element(bytes);
    }
}

fn malformed(actual: impl fmt::Display) -> Error {
    Error::new(Code::Format, "bytes", "a well-formed safetensors file", actual)
}

/// The first characters of what is no header length but a text, as an HTML page or a Git LFS pointer is.
fn text_start(bytes: &[u8]) -> Option<&str> {
    let start = bytes.get(..LENGTH_BYTES)?;
    start.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t')).then_some(())?;
    std::str::from_utf8(start).ok()
}

/// The parser keeps the last of two tensors of one name; a file that has both is not to be trusted.
fn refuse_duplicates(header: &[u8]) -> Result<()> {
    let Names(mut names) = serde_json::from_slice(header).map_err(malformed)?;
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(malformed(format_args!("two tensors of the name '{}'", pair[0]))),
        None => Ok(()),
    }
}

/// The keys of a JSON object, each as often as it stands there.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The safetensors file of these entries, sorted by name, and of `metadata`, a JSON object of strings.
///
/// Written here rather than by the crate that reads: equal input gives equal bytes, and memory that cannot be had is an
/// error.
pub fn save_safetensors(entries: &[Entry<'_>], metadata: &str) -> Result<Vec<u8>> {
    let mut sorted: Vec<&Entry<'_>> = entries.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::new(Code::Format, &*pair[0].name, "a name that no other entry has", "two entries"));
    }
    let header = header(&sorted, metadata)?;
    let length = LENGTH_BYTES + header.len() + sorted.iter().map(|entry| size_of_val(entry.data)).sum::<usize>();
    let mut file = Vec::new();
    file.try_reserve_exact(length).map_err(|_| Error::memory("safetensors file", length))?;
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    for entry in sorted {
        file.extend(entry.data.iter().flat_map(|value| value.to_le_bytes()));
    }
    Ok(file)
}

/// The JSON header, filled up with spaces to a multiple of eight bytes, which aligns the data.
fn header(entries: &[&Entry<'_>], metadata: &str) -> Result<String> {
    let metadata: Value =
        serde_json::from_str(metadata).map_err(|fault| Error::new(Code::Internal, "metadata", "a JSON text", fault))?;
    let mut header = serde_json::Map::new();
    match &metadata {
        Value::Object(map) => {
            if let Some((name, _)) = map.iter().find(|(_, value)| !value.is_string()) {
                return Err(Error::option(format!("metadata.{name}"), "a string", &map[name]));
            }
            if !map.is_empty() {
                header.insert(METADATA.to_owned(), metadata);
            }
        }
        other => return Err(Error::option("metadata", "an object of strings", other)),
    }
    let mut offset = 0usize;
    for entry in entries {
        if entry.name == METADATA {
            return Err(Error::new(Code::Format, METADATA, "a name that the format does not reserve", METADATA));
        }
        let end = offset + size_of_val(entry.data);
        let described = serde_json::json!({ "dtype": "F32", "shape": entry.shape, "data_offsets": [offset, end] });
        header.insert(entry.name.to_string(), described);
        offset = end;
    }
    let mut header = Value::Object(header).to_string();
    while !header.len().is_multiple_of(LENGTH_BYTES) {
        header.push(' ');
    }
    Ok(header)
}

const METADATA: &str = "__metadata__";

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn fault(bytes: &[u8]) -> String {
        let error = SafetensorsIndex::parse(bytes).err().expect("a fault");
        assert_eq!((error.code, error.argument.as_str()), (Code::Format, "bytes"), "{error}");
        error.actual
    }

    #[test]
    fn what_is_saved_is_read_again_and_the_bytes_are_the_same_each_time() {
        let (a, b) = ([1.5f32, -0.0, f32::INFINITY, f32::MIN_POSITIVE / 4.0], [f32::NAN]);
        let entries = [
            Entry { name: "z \"quoted\"".into(), shape: vec![2, 2], data: &a },
            Entry { name: "b".into(), shape: vec![], data: &b },
            Entry { name: "empty".into(), shape: vec![0, 3], data: &[] },
        ];
        let bytes = save_safetensors(&entries, r#"{"format":"pt","a":"é","c":"d"}"#).unwrap();
        assert_eq!(bytes, save_safetensors(&entries, r#"{"a":"é","c":"d","format":"pt"}"#).unwrap());
        let index = SafetensorsIndex::parse(&bytes).unwrap();
        assert_eq!((index.len(), index.is_empty()), (3, false));
        assert_eq!(
            index.describe(),
            r#"[{"name":"b","shape":[],"dtype":"F32"},{"name":"empty","shape":[0,3],"dtype":"F32"},{"name":"z \"quoted\"","shape":[2,2],"dtype":"F32"}]"#
        );
        let mut read = [0.0; 4];
        index.read(&bytes, 2, &mut read).unwrap();
        assert_eq!(read.map(f32::to_bits), a.map(f32::to_bits));
        index.read(&bytes, 0, &mut read[..1]).unwrap();
        assert_eq!(read[0].to_bits(), b[0].to_bits());
        index.read(&bytes, 1, &mut []).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["a"], "é");
    }

    #[test]
    fn what_is_saved_begins_its_data_at_a_multiple_of_eight() {
        for name in ["a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh"] {
            let bytes = save_safetensors(&[Entry { name: name.into(), shape: vec![1], data: &[1.0] }], "{}").unwrap();
            assert_eq!((bytes.len() - 4) % 8, 0);
        }
        assert_eq!(save_safetensors(&[], "{}").unwrap(), file("{}      ", &[]));
    }

    #[test]
    fn a_file_that_cannot_be_saved_is_told() {
        let entry = |name: &'static str| Entry { name: name.into(), shape: vec![1], data: &[1.0] };
        let fault = |entries: &[Entry<'_>], metadata| {
            let error = save_safetensors(entries, metadata).unwrap_err();
            (error.code, error.argument)
        };
        assert_eq!(fault(&[entry("a"), entry("a")], "{}"), (Code::Format, "a".into()));
        assert_eq!(fault(&[entry("__metadata__")], "{}"), (Code::Format, "__metadata__".into()));
        assert_eq!(fault(&[], r#"{"epoch":3}"#), (Code::Option, "metadata.epoch".into()));
        assert_eq!(fault(&[], "[]"), (Code::Option, "metadata".into()));
        assert_eq!(fault(&[], "{"), (Code::Internal, "metadata".into()));
    }

    #[test]
    fn half_precision_is_widened_and_data_need_not_be_aligned() {
        // One byte first, so that everything behind it is off its alignment.
        let header = r#"{"u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
            "h":{"dtype":"F16","shape":[2],"data_offsets":[1,5]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[5,7]},
            "f":{"dtype":"F32","shape":[1],"data_offsets":[7,11]}}"#;
        let bytes = file(header, &[9, 0x01, 0x00, 0x00, 0xbc, 0xc0, 0x3f, 0x00, 0x00, 0x80, 0x3f]);
        let index = SafetensorsIndex::parse(&bytes).unwrap();
        let read = |position: usize, length| {
            let mut values = vec![0.0; length];
            index.read(&bytes, position, &mut values).map(|()| values)
        };
        assert_eq!(read(0, 1), Ok(vec![1.5]));
        assert_eq!(read(1, 1), Ok(vec![1.0]));
        assert_eq!(read(2, 2), Ok(vec![2f32.powi(-24), -1.0]));
        let error = read(3, 1).unwrap_err();
        assert_eq!((error.code, error.argument.as_str(), error.actual.as_str()), (Code::Format, "u", "U8"));
        assert_eq!(read(2, 3).unwrap_err().code, Code::Shape);
        assert_eq!(read(4, 1).unwrap_err().code, Code::Internal);
        assert_eq!(index.read(&bytes[..60], 0, &mut [0.0]).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn hostile_files_are_format_errors() {
        let tensor = |dtype: &str, shape: &str, first: u64, end: u64| {
            format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{first},{end}]}}"#)
        };
        let one = |text: String| format!(r#"{{"a":{text}}}"#);
        fault(&[]);
        fault(&[1, 2, 3]);
        fault(&u64::MAX.to_le_bytes());
        fault(&[0; 8]);
        fault(&file("{}", &[])[..9]);
        fault(&file("{}", &[1]));
        fault(&file("[]", &[]));
        fault(&file("{\"a\":1}", &[]));
        fault(&file(&"[".repeat(100_000), &[]));
        fault(&[&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat());
        fault(&file(&one(tensor("F32", "[1]", 0, 8)), &[0; 8]));
        fault(&file(&one(tensor("F32", "[2]", 0, 4)), &[0; 4]));
        fault(&file(&one(tensor("F32", "[1]", 4, 0)), &[0; 4]));
        fault(&file(&one(tensor("F32", "[1]", 4, 8)), &[0; 8]));
        fault(&file(&one(tensor("F32", "[1]", 0, 4)), &[0; 3]));
        fault(&file(&one(tensor("F32", "[1]", 0, 4)), &[0; 5]));
        fault(&file(&one(tensor("F99", "[1]", 0, 4)), &[0; 4]));
        fault(&file(&one(tensor("F32", "[-1]", 0, 4)), &[0; 4]));
        fault(&file(&one(tensor("F32", "[1.5]", 0, 4)), &[0; 4]));
        fault(&file(&one(tensor("U8", "[4294967296,4294967296]", 0, 0)), &[]));
        fault(&file(&one(tensor("U8", "[18446744073709551615]", 0, u64::MAX)), &[0; 4]));
        fault(&file(&one(tensor("F4", "[1]", 0, 0)), &[]));
        let overlap = format!(r#"{{"a":{},"b":{}}}"#, tensor("F32", "[1]", 0, 4), tensor("F32", "[1]", 2, 6));
        fault(&file(&overlap, &[0; 6]));
        let twice = format!(r#"{{"a":{0},"a":{0}}}"#, tensor("F32", "[1]", 0, 4));
        assert_eq!(fault(&file(&twice, &[0; 4])), "two tensors of the name 'a'");
        assert_eq!(fault(b"<!DOCTYPE html><p>not found"), r#"a text that begins with "<!DOCTYP""#);
        assert_eq!(fault(b"version https://git-lfs.github.com/spec/v1"), r#"a text that begins with "version ""#);
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_survived() {
        let entries = [
            Entry { name: "a".into(), shape: vec![2], data: &[1.0, 2.0] },
            Entry { name: "b".into(), shape: vec![1], data: &[3.0] },
        ];
        let bytes = save_safetensors(&entries, r#"{"k":"v"}"#).unwrap();
        for length in 0..bytes.len() {
            fault(&bytes[..length]);
        }
        for position in 0..bytes.len() {
            for value in [0, 1, b'0', b'9', b'"', b'}', 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[position] = value;
                if let Ok(index) = SafetensorsIndex::parse(&changed) {
                    for entry in 0..index.len() {
                        let _ = index.read(&changed, entry, &mut [0.0; 2]);
                    }
                }
            }
        }
    }
}
