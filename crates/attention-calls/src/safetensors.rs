//! Safetensors files: an index over the bytes that trusts nothing they say, and a writer.
//!
//! The format is that of the crate `safetensors`, which the tests hold this file against. It is not used itself: with the
//! maps and the JSON that it brings it would be a third of the WebAssembly module, it takes two tensors of one name, its sums
//! wrap in 32 bits, and what it writes differs from run to run.

use std::fmt::{Display, Write};
use std::ops::Range;

use ruvector_attention::layers::Entry;
use ruvector_attention::tensor::check_output;
use ruvector_attention::{Code, Error, Result};

use crate::half::{widen_bf16, widen_f16};
use crate::json::{Json, Value, push_sizes, push_string};
use crate::state::push_description;

const LENGTH_BYTES: usize = 8;
const LONGEST_HEADER: usize = 100_000_000;
const METADATA: &str = "__metadata__";

/// The element types of the format and their widths in bits.
const DTYPES: [(&str, usize); 22] = [
    ("F32", 32),
    ("F16", 16),
    ("BF16", 16),
    ("F64", 64),
    ("I64", 64),
    ("I32", 32),
    ("I16", 16),
    ("I8", 8),
    ("U64", 64),
    ("U32", 32),
    ("U16", 16),
    ("U8", 8),
    ("BOOL", 8),
    ("C64", 64),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("F4", 4),
];

/// What a safetensors file holds, without its data.
pub struct SafetensorsIndex {
    tensors: Vec<Located>,
}

/// A tensor and the bytes where it lies.
#[derive(Default)]
struct Located {
    name: String,
    shape: Vec<usize>,
    /// One of [`DTYPES`].
    dtype: &'static str,
    bits: usize,
    bytes: Range<usize>,
}

impl SafetensorsIndex {
    /// Reads and checks the header of a file of `file_length` bytes, of which `start` are the first: all of its header at
    /// least. A `FORMAT` error says what is wrong with it.
    pub fn parse(start: &[u8], file_length: usize) -> Result<Self> {
        let Some((length, rest)) = start.split_first_chunk::<LENGTH_BYTES>() else {
            return Err(malformed(format_args!("{file_length} bytes")));
        };
        let length = u64::from_le_bytes(*length);
        let header = usize::try_from(length).ok().filter(|&length| length <= LONGEST_HEADER);
        let Some(header) = header.and_then(|length| rest.get(..length)) else {
            return Err(match text_start(start) {
                Some(text) => malformed(format_args!("a text that begins with \"{text}\"")),
                None => malformed(format_args!("a header of {length} bytes in a file of {file_length}")),
            });
        };
        let data_start = LENGTH_BYTES + header.len();
        let header = std::str::from_utf8(header).map_err(|_| malformed("a header that is no UTF-8"))?;
        let header =
            Json::parse(header).map_err(|at| malformed(format_args!("a header that is no JSON at byte {at}")))?;
        let members = header.members().ok_or_else(|| malformed("a header that is no object"))?;
        let mut tensors = Vec::with_capacity(members.len());
        for (name, described) in members {
            if name == METADATA {
                let strings =
                    described.members().is_some_and(|all| all.iter().all(|(_, value)| value.string().is_some()));
                if !strings && described.value != Value::Null {
                    return Err(malformed("metadata that is no object of strings"));
                }
            } else {
                tensors.push(Located::read(name, described)?);
            }
        }
        let order = sorted(tensors.len(), &|a, b| tensors[a].name < tensors[b].name);
        let mut tensors: Vec<Located> = order.into_iter().map(|index| std::mem::take(&mut tensors[index])).collect();
        if let Some(pair) = tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(malformed(format_args!("two tensors of the name '{}'", pair[0].name)));
        }
        check_places(&tensors, file_length.saturating_sub(data_start))?;
        for tensor in &mut tensors {
            tensor.bytes = data_start + tensor.bytes.start..data_start + tensor.bytes.end;
        }
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

    /// The tensors as a JSON list of `{ "name", "shape", "dtype", "bytes" }`, sorted by name; `bytes` is where in the file
    /// the elements begin and end.
    pub fn describe(&self) -> String {
        let mut json = String::from("[");
        for tensor in &self.tensors {
            push_description(&mut json, &tensor.name, &tensor.shape);
            // Writing to a String does not fail.
            let _ = write!(json, ",\"dtype\":\"{}\",\"bytes\":", tensor.dtype);
            push_sizes(&mut json, &[tensor.bytes.start, tensor.bytes.end]);
            json.push('}');
        }
        json.push(']');
        json
    }
}

/// Writes the elements of a tensor of this type to `output`: F32 as they are, F16 and BF16 widened.
///
/// # Errors
/// `FORMAT` for another type, `SHAPE` if `output` has another number of elements.
pub fn widen(dtype: &str, bytes: &[u8], output: &mut [f32]) -> Result<()> {
    let width = if dtype == "F32" { 4 } else { 2 };
    check_output("output", output, bytes.len() / width)?;
    match dtype {
        "F32" => fill(output, bytes, f32::from_le_bytes),
        "F16" => fill(output, bytes, |bytes| widen_f16(u16::from_le_bytes(bytes))),
        "BF16" => fill(output, bytes, |bytes| widen_bf16(u16::from_le_bytes(bytes))),
        _ => return Err(Error::new(Code::Format, "dtype", "F32, F16 or BF16", dtype)),
    }
    Ok(())
}

fn fill<const WIDTH: usize>(output: &mut [f32], source: &[u8], element: impl Fn([u8; WIDTH]) -> f32) {
    for (value, &bytes) in output.iter_mut().zip(source.as_chunks().0) {
        *value = element(bytes);
    }
}

impl Located {
    fn read(name: &str, described: &Json<'_>) -> Result<Self> {
        let dtype = described.member("dtype").and_then(Json::string);
        let shape = described.member("shape").and_then(Json::sizes);
        let offsets = described.member("data_offsets").and_then(Json::sizes);
        let (Some(dtype), Some(shape), Some(&[start, end])) = (dtype, shape, offsets.as_deref()) else {
            return Err(malformed(format_args!("'{name}' without a dtype, a shape and two data_offsets")));
        };
        let Some(&(dtype, bits)) = DTYPES.iter().find(|(known, _)| *known == dtype) else {
            return Err(malformed(format_args!("'{name}' of the unknown type {dtype}")));
        };
        Ok(Self { name: name.to_owned(), shape, dtype, bits, bytes: start..end })
    }

    /// The bytes that shape and type ask for.
    fn size(&self) -> Option<usize> {
        let bits = self.shape.iter().try_fold(self.bits, |bits, &dim| bits.checked_mul(dim))?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }
}

/// Checks that the tensors fill the data without gap or overlap, each as long as its shape and type say.
fn check_places(tensors: &[Located], length: usize) -> Result<()> {
    let place = |index: usize| (tensors[index].bytes.start, tensors[index].bytes.end);
    let mut end = 0;
    for index in sorted(tensors.len(), &|a, b| place(a) < place(b)) {
        let tensor = &tensors[index];
        let Located { name, dtype, bytes, .. } = tensor;
        let (start, stop) = (bytes.start, bytes.end);
        if start != end || stop < end || stop > length {
            return Err(malformed(format_args!(
                "'{name}' at bytes {start} to {stop} of {length}, where {end} is next"
            )));
        }
        if tensor.size() != Some(bytes.len()) {
            return Err(malformed(format_args!(
                "'{name}' in {} bytes, not those of its shape in {dtype}",
                stop - start
            )));
        }
        end = stop;
    }
    if end == length {
        Ok(())
    } else {
        Err(malformed(format_args!("{length} bytes of data, of which {end} are described")))
    }
}

fn malformed(actual: impl Display) -> Error {
    Error::new(Code::Format, "bytes", "a well-formed safetensors file", actual)
}

/// The first characters of what is no header length but a text, as an HTML page or a Git LFS pointer is.
fn text_start(bytes: &[u8]) -> Option<&str> {
    let start = bytes.get(..LENGTH_BYTES)?;
    start.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t')).then_some(())?;
    std::str::from_utf8(start).ok()
}

/// The indices below `length` in the order of `less`, by heap sort: the standard library's sorts are ten times the code.
fn sorted(length: usize, less: &dyn Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut heap: Vec<usize> = (0..length).collect();
    let sift = |heap: &mut [usize], mut parent: usize| {
        while 2 * parent + 1 < heap.len() {
            let mut child = 2 * parent + 1;
            if child + 1 < heap.len() && less(heap[child], heap[child + 1]) {
                child += 1;
            }
            if !less(heap[parent], heap[child]) {
                break;
            }
            heap.swap(parent, child);
            parent = child;
        }
    };
    for parent in (0..length / 2).rev() {
        sift(&mut heap, parent);
    }
    for end in (1..length).rev() {
        heap.swap(0, end);
        sift(&mut heap[..end], 0);
    }
    heap
}

/// The safetensors file of these entries, sorted by name, and of `metadata`, a JSON object of strings.
pub fn save_safetensors(entries: &[Entry<'_>], metadata: &str) -> Result<Vec<u8>> {
    let order = sorted(entries.len(), &|a, b| entries[a].name < entries[b].name);
    let sorted: Vec<&Entry<'_>> = order.into_iter().map(|index| &entries[index]).collect();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::new(Code::Format, &*pair[0].name, "a name that no other entry has", "two entries"));
    }
    let header = header(&sorted, metadata)?;
    let length = LENGTH_BYTES + header.len() + sorted.iter().map(|entry| size_of_val(entry.data)).sum::<usize>();
    let mut file = Vec::new();
    file.try_reserve_exact(length).map_err(|_| Error::memory("safetensors file", length))?;
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    for value in sorted.iter().flat_map(|entry| entry.data) {
        file.extend_from_slice(&value.to_le_bytes());
    }
    Ok(file)
}

/// The JSON header, filled up with spaces to a multiple of eight bytes, which aligns the data.
fn header(entries: &[&Entry<'_>], metadata: &str) -> Result<String> {
    let mut header = String::from("{");
    push_metadata(&mut header, metadata)?;
    let mut offset = 0;
    for entry in entries {
        if entry.name == METADATA {
            return Err(Error::new(Code::Format, METADATA, "a name that the format does not reserve", METADATA));
        }
        let end = offset + size_of_val(entry.data);
        push_name(&mut header, &entry.name);
        header.push_str("{\"dtype\":\"F32\",\"shape\":");
        push_sizes(&mut header, &entry.shape);
        header.push_str(",\"data_offsets\":");
        push_sizes(&mut header, &[offset, end]);
        header.push('}');
        offset = end;
    }
    header.push('}');
    while !header.len().is_multiple_of(LENGTH_BYTES) {
        header.push(' ');
    }
    Ok(header)
}

/// Appends the metadata, sorted by name, where there is any.
fn push_metadata(header: &mut String, metadata: &str) -> Result<()> {
    let metadata = Json::parse(metadata).map_err(|at| Error::new(Code::Internal, "metadata", "a JSON text", at))?;
    let Some(members) = metadata.members() else {
        return Err(Error::option("metadata", "an object of strings", metadata.text));
    };
    if members.is_empty() {
        return Ok(());
    }
    push_name(header, METADATA);
    header.push('{');
    for index in sorted(members.len(), &|a, b| members[a].0 < members[b].0) {
        let (name, value) = &members[index];
        let Some(text) = value.string() else {
            return Err(Error::option(format!("metadata.{name}"), "a string", value.text));
        };
        push_name(header, name);
        push_string(header, text);
    }
    header.push('}');
    Ok(())
}

/// Appends a member's name and colon, after a comma where it is not the first.
fn push_name(json: &mut String, name: &str) {
    if !json.ends_with('{') {
        json.push(',');
    }
    push_string(json, name);
    json.push(':');
}

#[cfg(test)]
mod tests {
    use ::safetensors::SafeTensors;
    use proptest::prelude::*;

    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<SafetensorsIndex> {
        SafetensorsIndex::parse(bytes, bytes.len())
    }

    fn read(index: &SafetensorsIndex, bytes: &[u8], position: usize, length: usize) -> Result<Vec<f32>> {
        let tensor = &index.tensors[position];
        let mut values = vec![0.0; length];
        widen(tensor.dtype, &bytes[tensor.bytes.clone()], &mut values).map(|()| values)
    }

    fn fault(bytes: &[u8]) -> String {
        let error = parse(bytes).err().expect("a fault");
        assert_eq!((error.code, error.argument.as_str()), (Code::Format, "bytes"), "{error}");
        error.actual.clone()
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
        let index = parse(&bytes).unwrap();
        assert_eq!((index.len(), index.is_empty()), (3, false));
        let start = bytes.len() - 20;
        let place = |from: usize, to: usize| format!(r#""bytes":[{},{}]"#, start + from, start + to);
        assert_eq!(
            index.describe(),
            format!(
                r#"[{{"name":"b","shape":[],"dtype":"F32",{}}},{{"name":"empty","shape":[0,3],"dtype":"F32",{}}},{{"name":"z \"quoted\"","shape":[2,2],"dtype":"F32",{}}}]"#,
                place(0, 4),
                place(4, 4),
                place(4, 20)
            )
        );
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read(&index, &bytes, 2, 4).unwrap()), bits(&a));
        assert_eq!(bits(&read(&index, &bytes, 0, 1).unwrap()), bits(&b));
        assert_eq!(read(&index, &bytes, 1, 0), Ok(vec![]));
        assert_eq!(SafetensorsIndex::parse(&bytes[..start], bytes.len()).unwrap().describe(), index.describe());
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
            (error.code, error.argument.clone())
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
        let index = parse(&bytes).unwrap();
        let read = |position: usize, length| read(&index, &bytes, position, length);
        assert_eq!(read(0, 1), Ok(vec![1.5]));
        assert_eq!(read(1, 1), Ok(vec![1.0]));
        assert_eq!(read(2, 2), Ok(vec![2f32.powi(-24), -1.0]));
        assert_eq!(read(2, 3).unwrap_err().code, Code::Shape);
        let error = widen("I16", &[0; 2], &mut [0.0]).unwrap_err();
        assert_eq!((error.code, error.actual.as_str()), (Code::Format, "I16"));
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

    proptest! {
        #[test]
        fn what_the_safetensors_crate_takes_is_taken_and_nothing_else(
            tensors in prop::collection::vec(
                (
                    prop::sample::select(vec!["F32", "F16", "BF16", "U8", "I64", "F4", "F6_E2M3", "F8_E4M3", "F99"]),
                    prop::collection::vec(0usize..4, 0..3),
                    prop::sample::select(vec![0i64, 0, 0, 0, 0, 0, 0, -1, 1, 4]),
                ),
                0..4,
            ),
            extra in prop::sample::select(vec![0usize, 0, 0, 0, 1]),
            order in any::<u64>(),
        ) {
            let mut end = 0i64;
            let mut members = Vec::new();
            for (index, (dtype, shape, wrong)) in tensors.iter().enumerate() {
                let bits = DTYPES.iter().find(|(known, _)| known == dtype).map_or(32, |(_, bits)| *bits);
                let start = end;
                end = start + (shape.iter().product::<usize>() * bits / 8) as i64 + wrong;
                let member = format!(r#""t{index}":{{"data_offsets":[{start},{end}],"dtype":"{dtype}","shape":{shape:?}}}"#);
                members.insert(if order >> index & 1 == 1 { 0 } else { members.len() }, member);
            }
            let data = vec![0; end.max(0) as usize + extra];
            let bytes = file(&format!("{{{}}}", members.join(",")), &data);
            let expected = SafeTensors::deserialize(&bytes);
            let found = parse(&bytes);
            prop_assert_eq!(found.is_ok(), expected.is_ok(), "{:?}", expected.err());
            if let (Ok(found), Ok(expected)) = (found, expected) {
                prop_assert_eq!(found.len(), expected.len());
                for tensor in &found.tensors {
                    let other = expected.tensor(&tensor.name).unwrap();
                    prop_assert_eq!(&*tensor.shape, other.shape());
                    prop_assert_eq!(tensor.dtype, other.dtype().to_string());
                    prop_assert_eq!(&bytes[tensor.bytes.clone()], other.data());
                }
            }
        }

        #[test]
        fn indices_are_sorted(values in prop::collection::vec(0u8..20, 0..50)) {
            let order = sorted(values.len(), &|a, b| values[a] < values[b]);
            let mut expected = values.clone();
            expected.sort_unstable();
            prop_assert_eq!(order.iter().map(|&index| values[index]).collect::<Vec<_>>(), expected);
            let mut indices = order;
            indices.sort_unstable();
            prop_assert_eq!(indices, (0..values.len()).collect::<Vec<_>>());
        }
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
                let found = parse(&changed);
                assert_eq!(found.is_ok(), SafeTensors::deserialize(&changed).is_ok(), "{position} {value}");
                if let Ok(index) = found {
                    for tensor in &index.tensors {
                        let _ = widen(tensor.dtype, &changed[tensor.bytes.clone()], &mut [0.0; 2]);
                    }
                }
            }
        }
    }
}
