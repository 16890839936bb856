//! State dicts in the form that the bindings pass: a JSON list of names and shapes, and a list of arrays.

use std::borrow::Cow;

use ruvector_attention::layers::Entry;
use ruvector_attention::tensor::check_output;
use ruvector_attention::{Code, Error, Result, Tensor};

use crate::json::{Json, push_sizes, push_string};

/// Parses a JSON list of `{ "name", "shape" }` into entries over `data`, which is in the same order.
pub fn parse_entries<'a>(json: &str, data: &[&'a [f32]]) -> Result<Vec<Entry<'a>>> {
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
        Tensor::new(name, data, &shape)?;
        entries.push(Entry { name: Cow::Owned(name.to_owned()), shape, data });
    }
    Ok(entries)
}

/// Writes names and shapes of the entries as a JSON list of `{ "name", "shape" }`.
pub fn describe_entries(entries: &[Entry<'_>]) -> String {
    let mut json = String::from("[");
    for entry in entries {
        json.push_str(if json.len() > 1 { ",{\"name\":" } else { "{\"name\":" });
        push_string(&mut json, &entry.name);
        json.push_str(",\"shape\":");
        push_sizes(&mut json, &entry.shape);
        json.push('}');
    }
    json.push(']');
    json
}

/// Copies the elements of entry `index` to `output`.
pub fn read_entry(entries: &[Entry<'_>], index: usize, output: &mut [f32]) -> Result<()> {
    let entry = entries.get(index).ok_or_else(|| {
        Error::new(Code::Internal, "index", format_args!("less than {} entries", entries.len()), index)
    })?;
    check_output("output", output, entry.data.len())?;
    output.copy_from_slice(entry.data);
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
        assert_eq!(entries[0], Entry { name: "a \"b\"".into(), shape: vec![1, 2], data: &a });
        assert_eq!(describe_entries(&entries), json);
        let mut read = [0.0; 2];
        read_entry(&entries, 0, &mut read).unwrap();
        assert_eq!(read, a);
        assert_eq!(read_entry(&entries, 1, &mut read).unwrap_err().code, Code::Shape);
        assert_eq!(read_entry(&entries, 2, &mut read).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn an_entry_whose_data_does_not_fit_its_shape_is_reported_by_name() {
        let error = parse_entries(r#"[{"name":"x.weight","shape":[3]}]"#, &[&[1.0]]).unwrap_err();
        assert_eq!((error.code, error.argument.as_str()), (Code::Shape, "x.weight"));
        assert_eq!(parse_entries("[]", &[&[1.0]]).unwrap_err().code, Code::Internal);
        assert_eq!(parse_entries("{", &[]).unwrap_err().code, Code::Internal);
    }
}
