//! Weights files from arbitrary bytes, and from right ones with some of them changed: an index that is accepted lies inside of
//! the file, and what is written is read again.

use arbitrary::{Result, Unstructured};
use ruvector_attention_calls::{SafetensorsIndex, parse_entries, save_safetensors, widen};

/// Reads the bytes as a file, and as changes to one.
pub fn run(bytes: &[u8]) {
    read(bytes, bytes.len());
    let mut input = Unstructured::new(bytes);
    if let Ok((file, length)) = changed(&mut input) {
        read(&file, length);
    }
    let _ = write(&mut input);
}

fn read(start: &[u8], length: usize) {
    let Ok(index) = SafetensorsIndex::parse(start, length) else { return };
    let described = index.describe();
    // Each tensor's place is `"bytes":[start,end]}`.
    for place in described.split("\"bytes\":[").skip(1) {
        let place = place.split(']').next().unwrap();
        let (first, end) = place.split_once(',').unwrap();
        let (first, end): (usize, usize) = (first.parse().unwrap(), end.parse().unwrap());
        assert!(first <= end && end <= length, "{described} in {length} bytes");
        if let Some(bytes) = start.get(first..end) {
            for dtype in ["F32", "F16", "BF16", "I8", ""] {
                let width = if dtype == "F32" { 4 } else { 2 };
                let mut output = vec![0.0; bytes.len() / width];
                let _ = widen(dtype, bytes, &mut output);
            }
        }
    }
}

/// A right file of three tensors, with bytes changed, cut off or claimed.
fn changed(input: &mut Unstructured<'_>) -> Result<(Vec<u8>, usize)> {
    let data: Vec<u8> = (0..24).collect();
    let header = br#"{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"y":{"dtype":"F16","shape":[4],"data_offsets":[16,24]},"z":{"dtype":"BF16","shape":[0,7],"data_offsets":[24,24]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(&data);
    for _ in 0..input.int_in_range(0..=8)? {
        let at = input.int_in_range(0..=file.len() - 1)?;
        match input.int_in_range(0..=3)? {
            0 => file[at] = input.arbitrary()?,
            1 => file[at] = *input.choose(b"{}[]\":,0123456789-.eE\\u")?,
            2 => drop(file.remove(at)),
            _ => file.insert(at, *input.choose(b"{}[]\":,0123456789 \\")?),
        }
        if file.is_empty() {
            file.push(0);
        }
    }
    if input.ratio(1, 4)? {
        let length = file.len() as u64 - 8.min(file.len() as u64);
        for (byte, right) in file.iter_mut().zip(length.saturating_sub(24).to_le_bytes()) {
            *byte = right;
        }
    }
    let length = if input.ratio(1, 4)? { input.arbitrary()? } else { file.len() };
    Ok((file, length))
}

/// Entries from any text, and those that are right written and read.
fn write(input: &mut Unstructured<'_>) -> Result<()> {
    let floats = [0.5f32; 6];
    let count = input.int_in_range(0..=3usize)?;
    let data: Vec<&[f32]> = (0..count).map(|index| &floats[..index * 2]).collect();
    let length = input.int_in_range(0..=60)?;
    let length = input.len().min(length);
    let name = String::from_utf8_lossy(input.bytes(length)?).replace(['"', '\\'], "").replace(char::is_control, "");
    let described: Vec<String> =
        (0..count).map(|index| format!("{{\"name\":\"{name}{index}\",\"shape\":[{}]}}", index * 2)).collect();
    let json = if input.ratio(1, 4)? { name } else { format!("[{}]", described.join(",")) };
    let metadata = String::from_utf8_lossy(input.peek_bytes(input.len()).unwrap_or_default()).into_owned();
    if let Ok(entries) = parse_entries(&json, &data) {
        for metadata in ["{}", metadata.as_str()] {
            if let Ok(file) = save_safetensors(&entries, metadata) {
                let index = SafetensorsIndex::parse(&file, file.len()).expect("a file that was written");
                assert_eq!(index.len(), entries.len());
                read(&file, file.len());
            }
        }
    }
    Ok(())
}
