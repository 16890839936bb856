//! Reads the binary format of WebAssembly modules as far as these builds need it.

use anyhow::{Context, Result, ensure};

use crate::patch::read_number;

/// The length of the magic number and version.
pub const HEADER: usize = 8;

/// A section of a module.
pub struct Section<'a> {
    pub id: u8,
    pub contents: &'a [u8],
    /// The length including the section's own header.
    pub length: usize,
}

/// Returns the sections of a module.
pub fn sections(module: &[u8]) -> Result<Vec<Section<'_>>> {
    let mut rest = module.get(HEADER..).context("no module")?;
    let mut found = Vec::new();
    while let Some((&id, after)) = rest.split_first() {
        let mut after = after;
        let contents = bytes(&mut after)?;
        found.push(Section { id, contents, length: rest.len() - after.len() });
        rest = after;
    }
    Ok(found)
}

/// Returns the name of a custom section, whose number is 0.
pub fn custom_name(mut contents: &[u8]) -> Result<&[u8]> {
    bytes(&mut contents)
}

/// Counts the functions in the section of imports, which precede those of the module.
pub fn imported_functions(mut contents: &[u8]) -> Result<usize> {
    let mut functions = 0;
    for _ in 0..number(&mut contents)? {
        bytes(&mut contents)?;
        bytes(&mut contents)?;
        let kind = take(&mut contents, 1)?[0];
        ensure!(kind == 0, "an import is not a function");
        number(&mut contents)?;
        functions += 1;
    }
    Ok(functions)
}

/// A function of a module.
pub struct Function<'a> {
    /// Its local variables and instructions.
    pub body: &'a [u8],
    /// The length of the body and of the number in front of it.
    pub length: usize,
}

/// Returns the functions in the section of code.
pub fn functions(mut contents: &[u8]) -> Result<Vec<Function<'_>>> {
    (0..number(&mut contents)?)
        .map(|_| {
            let before = contents.len();
            let body = bytes(&mut contents)?;
            Ok(Function { body, length: before - contents.len() })
        })
        .collect()
}

/// Returns the numbers and names of functions in the section of names.
pub fn function_names(mut contents: &[u8]) -> Result<Vec<(usize, String)>> {
    const FUNCTIONS: u8 = 1;
    bytes(&mut contents)?;
    while !contents.is_empty() {
        let id = take(&mut contents, 1)?[0];
        let mut subsection = bytes(&mut contents)?;
        if id == FUNCTIONS {
            return (0..number(&mut subsection)?)
                .map(|_| {
                    let index = number(&mut subsection)?;
                    Ok((index, String::from_utf8_lossy(bytes(&mut subsection)?).into_owned()))
                })
                .collect();
        }
    }
    Ok(Vec::new())
}

/// Reads `length` bytes.
pub fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length).context("the module is cut short")?;
    *rest = after;
    Ok(taken)
}

/// Reads bytes that follow their length.
pub fn bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = number(rest)?;
    take(rest, length)
}

/// Reads a number in LEB128.
pub fn number(rest: &mut &[u8]) -> Result<usize> {
    Ok(usize::try_from(read_number(rest)?)?)
}

#[cfg(test)]
pub mod tests {
    pub fn section(id: u8, contents: &[u8]) -> Vec<u8> {
        [&[id, contents.len() as u8], contents].concat()
    }

    fn named(index: u8, name: &str) -> Vec<u8> {
        [&[index, name.len() as u8], name.as_bytes()].concat()
    }

    /// A module with one imported function and two others, of 3 and 4 bytes.
    pub fn module(names: &[(u8, &str)]) -> Vec<u8> {
        let functions: Vec<u8> = names.iter().flat_map(|(index, name)| named(*index, name)).collect();
        let functions = [&[names.len() as u8][..], &functions].concat();
        let names = [&b"\x04name"[..], &section(1, &functions)].concat();
        [
            b"\0asm\x01\0\0\0".to_vec(),
            section(1, &[1, 0x60, 0, 0]),
            section(2, b"\x01\x01m\x01f\0\0"),
            section(3, &[2, 0, 0]),
            section(10, &[2, 2, 0, 0x0B, 3, 0, 1, 0x0B]),
            section(0, &names),
        ]
        .concat()
    }
}
