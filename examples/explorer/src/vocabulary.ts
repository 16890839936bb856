// Readable names for the tokens of a byte-pair vocabulary, which writes each byte as one character.

/** The bytes that are written as themselves; the others are written as the characters from 256 on. */
const isItself = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte < 256 && byte !== 173)

const bytesOf = new Map<string, number>()
for (let byte = 0, others = 256; byte < 256; byte++) {
  bytesOf.set(String.fromCharCode(isItself(byte) ? byte : others++), byte)
}

/** The text of a token: a space at its start is left out, and other white space is shown. */
export function nameOf(token: string) {
  const characters = [...token]
  const isPlain = characters.every((character) => bytesOf.has(character))
  const bytes = Uint8Array.from(characters, (character) => bytesOf.get(character) ?? 0)
  const text = isPlain ? new TextDecoder().decode(bytes) : token
  const shown = text
    .replace(/^ (?=\S)/, '')
    .replaceAll('\n', '⏎')
    .replaceAll('\t', '⇥')
  return /^ +$/.test(shown) ? '␣'.repeat(shown.length) : shown
}
