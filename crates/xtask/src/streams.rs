//! Separates a module into streams of bytes of one kind, such as opcodes, indices of locals and offsets of loads, so
//! that it deflates to a fifth less. Numbers are LEB128, as in WebAssembly:
//!
//! 1. the length of the module, the number of its functions, the number of bytes in front of the first function, and
//!    the number of bytes behind the last one
//! 2. the length of each stream
//! 3. the bytes in front of the functions, and those behind them
//! 4. the streams
//!
//! The stream of an opcode has its immediates, except for the second number of those with two, such as the offset of a
//! load. Opcodes are in the stream of `unreachable`, which has no immediates. Lengths of functions are left out: a
//! function ends with its outermost block. `lib/loaders/streams.js` joins the streams.

use anyhow::{Context, Result, ensure};

use crate::module::{HEADER, Section, functions, number, sections, take};
use crate::patch::write_number;

/// Numbers of streams: of opcodes, of the codes behind the prefixes 0xFC and 0xFD, and of what has no opcode.
const OPCODES: usize = 0;
const SUB_OPCODES: usize = 256;
const SIMD_OPCODES: usize = 512;
const OFFSETS: usize = 1020;
const LOCALS: usize = 1021;
const STREAMS: usize = 1022;

/// The least number of bytes behind the functions: joining needs room for the length of the last one.
const MIN_TAIL: usize = 5;

/// Separates a module.
pub fn separate(module: &[u8]) -> Result<Vec<u8>> {
    let mut start = HEADER;
    let mut code = None;
    for Section { id, contents, length } in sections(module)? {
        start += length;
        if id == 10 {
            code = Some((contents, start));
        }
    }
    let (contents, end) = code.context("the module has no code")?;
    let functions = functions(contents)?;
    let tail = &module[end..];
    let head = &module[..end - functions.iter().map(|function| function.length).sum::<usize>()];
    ensure!(tail.len() >= MIN_TAIL, "the module ends with its code");
    let mut streams = Streams(vec![Vec::new(); STREAMS]);
    for function in &functions {
        let mut length = Vec::new();
        write_number(&mut length, function.body.len() as u64);
        ensure!(length.len() + function.body.len() == function.length, "the length of a function is padded");
        streams.add_function(function.body)?;
    }
    let mut result = Vec::new();
    let counts = [module.len(), functions.len(), head.len(), tail.len()];
    for count in counts.into_iter().chain(streams.0.iter().map(Vec::len)) {
        write_number(&mut result, count as u64);
    }
    result.extend([head, tail].concat());
    result.extend(streams.0.concat());
    Ok(result)
}

struct Streams(Vec<Vec<u8>>);

impl Streams {
    fn add_function(&mut self, mut rest: &[u8]) -> Result<()> {
        for _ in 0..self.number(LOCALS, &mut rest)? {
            self.number(LOCALS, &mut rest)?;
            self.bytes(LOCALS, 1, &mut rest)?;
        }
        let mut depth = 1;
        while depth > 0 {
            match self.add_instruction(&mut rest)? {
                0x02..=0x04 => depth += 1,
                0x0B => depth -= 1,
                _ => {}
            }
        }
        ensure!(rest.is_empty(), "a function continues behind its end");
        Ok(())
    }

    /// Adds an instruction, and returns the first byte of its opcode.
    fn add_instruction(&mut self, rest: &mut &[u8]) -> Result<u8> {
        let code = self.bytes(OPCODES, 1, rest)?[0];
        let opcode = match code {
            0xFC => SUB_OPCODES + self.number(OPCODES, rest)?,
            0xFD => SIMD_OPCODES + self.number(OPCODES, rest)?,
            _ => usize::from(code),
        };
        let (numbers, bytes) = immediates(opcode).with_context(|| format!("the opcode {opcode:#x} is unknown"))?;
        if numbers > 0 {
            let first = self.number(opcode, rest)?;
            if numbers > 1 {
                self.number(OFFSETS, rest)?;
            }
            if code == 0x0E {
                for _ in 0..=first {
                    self.number(opcode, rest)?;
                }
            }
        }
        self.bytes(opcode, bytes, rest)?;
        Ok(code)
    }

    fn bytes<'a>(&mut self, stream: usize, count: usize, rest: &mut &'a [u8]) -> Result<&'a [u8]> {
        let bytes = take(rest, count)?;
        self.0[stream].extend_from_slice(bytes);
        Ok(bytes)
    }

    /// Adds a number, signed ones too, and returns its value as an unsigned one.
    fn number(&mut self, stream: usize, rest: &mut &[u8]) -> Result<usize> {
        let length = rest.iter().take_while(|&&byte| byte >= 0x80).count() + 1;
        let bytes = self.bytes(stream, length, rest)?;
        // Only those of 64-bit constants are longer, and they are no counts.
        Ok(if length <= 5 { number(&mut &bytes[..])? } else { 0 })
    }
}

/// Returns how many numbers and bytes follow an opcode; `lib/loaders/streams.js` has the same table.
fn immediates(opcode: usize) -> Option<(usize, usize)> {
    if let Some(opcode) = opcode.checked_sub(SIMD_OPCODES) {
        return match opcode {
            0..=11 | 92..=93 => Some((2, 0)),
            12..=13 => Some((0, 16)),
            21..=34 => Some((0, 1)),
            84..=91 => Some((2, 1)),
            14..=20 | 35..=83 | 94..=275 => Some((0, 0)),
            _ => None,
        };
    }
    if let Some(opcode) = opcode.checked_sub(SUB_OPCODES) {
        return match opcode {
            0..=7 => Some((0, 0)),
            10 => Some((2, 0)),
            11 | 15..=17 => Some((1, 0)),
            _ => None,
        };
    }
    match opcode {
        0x02..=0x04 | 0x0C..=0x0E | 0x10 | 0x20..=0x26 | 0x3F..=0x42 | 0xD0 | 0xD2 => Some((1, 0)),
        0x11 | 0x28..=0x3E => Some((2, 0)),
        0x43 => Some((0, 4)),
        0x44 => Some((0, 8)),
        0x00 | 0x01 | 0x05 | 0x0B | 0x0F | 0x1A | 0x1B | 0x45..=0xC4 | 0xD1 => Some((0, 0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::tests::section;

    fn module(body: &[u8]) -> Vec<u8> {
        let code = [&[1, body.len() as u8], body].concat();
        [b"\0asm\x01\0\0\0".to_vec(), section(10, &code), section(11, &[0; 5])].concat()
    }

    #[test]
    fn bytes_of_one_kind_are_adjacent() {
        // Two locals; local.get 1, f32.load 2 9, local.set 0, local.get 3, br_table 0 4, end.
        let module = module(&[1, 2, 0x7D, 0x20, 1, 0x2A, 2, 9, 0x21, 0, 0x20, 3, 0x0E, 1, 0, 4, 0x0B]);
        let streams = separate(&module).unwrap();
        let head = &module[..HEADER + 3];
        let tail = &module[module.len() - 7..];
        let expected: [&[u8]; 8] =
            [head, tail, &[0x20, 0x2A, 0x21, 0x20, 0x0E, 0x0B], &[1, 0, 4], &[1, 3], &[0], &[2], &[9, 1, 2, 0x7D]];
        let expected = expected.concat();
        assert_eq!(streams[streams.len() - expected.len()..], expected);
        assert_eq!(streams.len() - expected.len(), 4 + STREAMS);
        assert_eq!(streams[..4], [module.len() as u8, 1, head.len() as u8, 7]);
    }

    #[test]
    fn instructions_that_cannot_be_joined_are_rejected() {
        assert!(separate(&module(&[0, 0x06, 0x0B])).is_err(), "an unknown opcode");
        assert!(separate(&module(&[0, 0x0B, 0x0B])).is_err(), "bytes behind the end");
        assert!(separate(&module(&[0, 0x02, 0x40, 0x0B])).is_err(), "an open block");
        assert!(separate(&module(&[0, 0x0B])).is_ok());
    }
}
