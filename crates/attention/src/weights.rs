//! Parameters by name: what a layer's state dict holds, how trained ones are taken over, and the safetensors files they
//! lie in.

mod attention;
mod file;
mod half;

use std::borrow::Cow;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};
use crate::tensor::{Tensor, check_output};

pub use attention::AttentionState;
pub use file::{SafetensorsIndex, save_safetensors};

/// One named tensor of a state dict.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    /// The name, with whatever prefix it has.
    pub name: Cow<'a, str>,
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: &'a [f32],
}

/// An entry without its data, as JSON carries it.
#[derive(Serialize, Deserialize)]
struct Description<'a> {
    name: Cow<'a, str>,
    shape: Cow<'a, [usize]>,
}

/// The entries that `json`, a list of `{ "name", "shape" }`, describes, over `data` in the same order.
pub fn parse_entries<'a>(json: &str, data: &[&'a [f32]]) -> Result<Vec<Entry<'a>>> {
    let descriptions: Vec<Description<'_>> =
        serde_json::from_str(json).map_err(|fault| Error::new(Code::Internal, "entries", "a list of names", fault))?;
    if descriptions.len() != data.len() {
        return Err(Error::new(
            Code::Internal,
            "entries",
            format!("{} arrays of data", descriptions.len()),
            data.len(),
        ));
    }
    let mut entries = Vec::with_capacity(data.len());
    for (Description { name, shape }, &data) in descriptions.into_iter().zip(data) {
        Tensor::new(&name, data, &shape)?;
        entries.push(Entry { name: Cow::Owned(name.into_owned()), shape: shape.into_owned(), data });
    }
    Ok(entries)
}

/// Names and shapes of the entries as a JSON list of `{ "name", "shape" }`.
pub fn describe_entries(entries: &[Entry<'_>]) -> String {
    let descriptions: Vec<_> = entries
        .iter()
        .map(|entry| Description { name: Cow::Borrowed(&*entry.name), shape: Cow::Borrowed(&*entry.shape) })
        .collect();
    // Names and numbers: serialisation has nothing that can fail.
    serde_json::to_string(&descriptions).unwrap_or_default()
}

/// Copies the elements of entry `index` to `output`.
pub fn read_entry(entries: &[Entry<'_>], index: usize, output: &mut [f32]) -> Result<()> {
    let entry = entries
        .get(index)
        .ok_or_else(|| Error::new(Code::Internal, "index", format!("less than {} entries", entries.len()), index))?;
    check_output("output", output, entry.data.len())?;
    output.copy_from_slice(entry.data);
    Ok(())
}

/// `'a', 'b' or 'c'`.
fn alternatives<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter().peekable();
    let mut text = String::new();
    while let Some(name) = names.next() {
        let separator = match (text.is_empty(), names.peek()) {
            (true, _) => "",
            (false, None) => " or ",
            (false, Some(_)) => ", ",
        };
        // Writing to a String does not fail.
        let _ = write!(text, "{separator}'{name}'");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_through_their_description() {
        let (a, b) = ([1.0, 2.0], [3.0]);
        let json = r#"[{"name":"a \"b\"","shape":[1,2]},{"name":"c","shape":[]}]"#;
        let entries = parse_entries(json, &[&a, &b]).unwrap();
        assert_eq!(entries[0], Entry { name: "a \"b\"".into(), shape: vec![1, 2], data: &a });
        assert_eq!(describe_entries(&entries), json);
        let mut read = [0.0; 2];
        read_entry(&entries, 0, &mut read).unwrap();
        assert_eq!(read, a);
        assert_eq!(read_entry(&entries, 1, &mut read).unwrap_err().code, Code::Shape);
        assert_eq!(read_entry(&entries, 2, &mut read).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn an_entry_whose_data_is_not_of_its_shape_is_told_by_name() {
        let error = parse_entries(r#"[{"name":"x.weight","shape":[3]}]"#, &[&[1.0]]).unwrap_err();
        assert_eq!((error.code, error.argument.as_str()), (Code::Shape, "x.weight"));
        assert_eq!(parse_entries("[]", &[&[1.0]]).unwrap_err().code, Code::Internal);
        assert_eq!(parse_entries("{", &[]).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn alternatives_read_as_a_sentence() {
        assert_eq!(alternatives(["a"]), "'a'");
        assert_eq!(alternatives(["a", "b"]), "'a' or 'b'");
        assert_eq!(alternatives(["a", "b", "c"]), "'a', 'b' or 'c'");
    }
}
