// Recognizes the format of a file that is not a safetensors file by its first bytes.

import { decoder } from './text.js'

/**
 * The first bytes of each format.
 *
 * @type {readonly (readonly [signature: readonly number[] | string, format: string])[]}
 */
const SIGNATURES = [
  ['GGUF', 'a GGUF file: convert it to safetensors'],
  ['ggjt', 'a GGML file: convert it to safetensors'],
  ['lmgg', 'a GGML file: convert it to safetensors'],
  [[0x89, 0x48, 0x44, 0x46], 'an HDF5 file: save its tensors with safetensors.numpy.save_file'],
  [[0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59], 'a NumPy array: save it with safetensors.numpy.save_file'],
  [[0x1f, 0x8b], 'a gzip archive: unpack it'],
  [[0x28, 0xb5, 0x2f, 0xfd], 'a Zstandard archive: unpack it'],
  ['version https://git-lfs', 'a Git LFS pointer: fetch the file itself with git lfs pull']
]

const PICKLE = 'a PyTorch pickle: save it with safetensors.torch.save_file'

/**
 * The format of a file, with a remedy if possible; undefined if it is not recognized.
 *
 * @param {Uint8Array} start  the first bytes of the file, or all of a short file
 * @returns {string | undefined}
 */
export function formatOf(start) {
  // Decodes each byte to the character with the same code point.
  const text = decoder('latin1').decode(start.slice(0, 1024))
  const startsWith = (/** @type {readonly number[] | string} */ signature) =>
    typeof signature === 'string' ? text.startsWith(signature) : signature.every((byte, at) => start[at] === byte)
  const found = SIGNATURES.find(([signature]) => startsWith(signature))
  if (found) return found[1]
  if (startsWith([0x50, 0x4b, 3, 4])) return zipFormat(text, start)
  // A pickle of protocol 2 to 5, as in legacy checkpoints.
  if (start[0] === 0x80 && start[1] >= 2 && start[1] <= 5) return PICKLE
  // A protocol buffer: field 1 is the version of the format; the producer, the domain or the graph comes next.
  if (start[0] === 8 && start[1] < 32 && [0x12, 0x1a, 0x22, 0x3a].includes(start[2])) {
    return 'an ONNX model: export the weights with safetensors'
  }
  if (text.startsWith('TFL3', 4)) return 'a TensorFlow Lite model: export the weights with safetensors'
  return textFormat(text)
}

/**
 * @param {string} text
 * @param {Uint8Array} start  of a zip archive: byte 26 is the length of the first file's name, which begins at byte 30
 */
function zipFormat(text, start) {
  const name = text.slice(30, 30 + start[26])
  if (name.endsWith('.npy')) return 'a NumPy archive: save its arrays with safetensors.numpy.save_file'
  return /\/(data\.pkl|\.format_version|version|byteorder|data\/|constants\.pkl)/.test(name) ? PICKLE : 'a zip archive'
}

/** @param {string} text */
function textFormat(text) {
  // Some texts begin with a byte order mark, in UTF-8.
  const trimmed = text.replace('ï»¿', '').trimStart()
  if (/^<(!doctype html|html|head|body|!--)/i.test(trimmed)) {
    return 'an HTML page: the server sent a page instead of the file'
  }
  if (trimmed.startsWith('<?xml')) return 'an XML document: the server may have answered with an error'
  if (/^[{[]\s*["{[\]}\d]/.test(trimmed)) {
    return trimmed.includes('"weight_map"') || trimmed.includes('"total_size"')
      ? 'the index of a sharded model: open it by its path or URL with openSafetensors'
      : 'a JSON text'
  }
  return /^[ -~\n\r\t]{8}/.test(text) ? `a text that begins with ${JSON.stringify(text.slice(0, 8))}` : undefined
}
