// The texts of a file: one per line, or in .jsonl files strings or objects with a field `text`.

/** Most texts of a file; their vectors take 1.5 KB each. */
const MOST = 200_000

/** The lines of a file. @param {Blob} file */
async function* linesOf(file) {
  let rest = ''
  const reader = file.stream().pipeThrough(new TextDecoderStream()).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    const lines = (rest + value).split(/\r?\n/)
    rest = lines.pop() ?? ''
    yield* lines
  }
  yield rest
}

/** The text in a line of JSON. @param {string} line @param {number} number */
function parsed(line, number) {
  /** @type {unknown} */
  let value
  try {
    value = JSON.parse(line)
  } catch {
    throw new Error(`line ${number} is not JSON`)
  }
  const text = typeof value === 'string' ? value : /** @type {any} */ (value)?.text
  if (typeof text === 'string') return text
  throw new Error(`line ${number} is neither a string nor an object with a field "text"`)
}

/**
 * Reads all texts with the numbers of their lines. Empty ones are left out.
 *
 * @param {File} file
 * @param {AbortSignal} signal
 */
export async function readTexts(file, signal) {
  const isJson = /\.(?:jsonl|ndjson)$/i.test(file.name)
  /** @type {{ line: number, text: string }[]} */
  const texts = []
  let number = 0
  for await (const line of linesOf(file)) {
    signal.throwIfAborted()
    number++
    if (line.trim() === '') continue
    const text = (isJson ? parsed(line, number) : line).trim()
    if (text === '') continue
    if (texts.length === MOST) throw new Error(`the file has more than ${MOST.toLocaleString('en')} texts`)
    texts.push({ line: number, text })
  }
  if (texts.length === 0) throw new Error('the file has no text')
  return texts
}
