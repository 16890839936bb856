// Replaces node:fs in the browser: the test server provides the golden files.

/** The part of Node's Buffer that the readers of golden files use. */
class Bytes extends Uint8Array {
  /** @param {number} offset */
  readBigUInt64LE(offset) {
    return new DataView(this.buffer, this.byteOffset).getBigUint64(offset, true)
  }
  /** @override */
  toString() {
    return new TextDecoder().decode(this)
  }
}

/** @param {URL} url */
export function readFileSync(url) {
  const request = new XMLHttpRequest()
  request.open('GET', url, false)
  // Synchronous requests only return text; in this encoding, the low byte of each code unit is the byte.
  request.overrideMimeType('text/plain; charset=x-user-defined')
  request.send()
  if (request.status !== 200) throw new Error(`${url}: status ${request.status}`)
  return Bytes.from(request.responseText, (character) => character.charCodeAt(0) & 255)
}
