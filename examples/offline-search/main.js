// The page: passes a file to the worker, shows how far it is, and searches while one types.

/** @typedef {import('./messages.d.ts').FromWorker} FromWorker */
/** @typedef {import('./messages.d.ts').ToWorker} ToWorker */

const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
const send = (/** @type {ToWorker} */ message) => worker.postMessage(message, [])

/** @param {string} id @returns {any} */
const element = (id) => document.querySelector(`#${id}`)
const [drop, file, query, hits] = ['drop', 'file', 'query', 'hits'].map(element)
const [work, bar, task, cancel] = ['work', 'bar', 'task', 'cancel'].map(element)
const [status, problem, found] = ['status', 'problem', 'found'].map(element)

const count = (/** @type {number} */ value, noun = 'text') =>
  `${value.toLocaleString('en')} ${noun}${value === 1 ? '' : 's'}`
const megabytes = (/** @type {number} */ bytes) => `${(bytes / 1e6).toFixed(1)} MB`

/** @param {number} seconds */
const duration = (seconds) =>
  seconds < 90 ? count(Math.ceil(seconds), 'second') : count(Math.ceil(seconds / 60), 'minute')

// ── Texts ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Name of the chosen file. */
let name = ''

/** @param {File | undefined} chosen */
function embed(chosen) {
  if (chosen === undefined) return
  name = chosen.name
  problem.textContent = ''
  status.textContent = `Reading ${name}.`
  show({ label: 'Waiting for the model' })
  send({ type: 'embed', file: chosen })
}

file.addEventListener('change', () => embed(file.files[0]))
cancel.addEventListener('click', () => send({ type: 'cancel' }))

for (const type of ['dragover', 'dragleave', 'drop']) {
  // Anywhere on the page, so that a browser never leaves it for a file that misses the field.
  addEventListener(type, (/** @type {any} */ event) => {
    event.preventDefault()
    drop.classList.toggle('over', type === 'dragover')
    if (type === 'drop') embed(event.dataTransfer.files[0])
  })
}

/** Shows the progress of a task, without a fraction if it is unknown. @param {{ label: string, done?: number }} task */
function show({ label, done }) {
  work.hidden = false
  cancel.hidden = name === ''
  task.textContent = label
  if (done === undefined) bar.removeAttribute('value')
  else bar.value = done
}

/** Ends the task, and reports what can be searched. @param {string} message @param {number} texts */
function end(message, texts) {
  if (document.activeElement === cancel) query.focus()
  work.hidden = true
  status.textContent = message
  query.disabled = texts === 0
  if (texts > 0) search()
}

// ── Search ───────────────────────────────────────────────────────────────────────────────────────────────────────────

let lastSearch = 0

function search() {
  const text = query.value.trim()
  lastSearch++
  if (text !== '') return send({ type: 'search', query: text, id: lastSearch })
  hits.replaceChildren()
  found.textContent = ''
}
query.addEventListener('input', search)

/** @param {import('./messages.d.ts').Hit} hit */
function itemOf({ line, text, score }) {
  const [item, paragraph, note] = ['li', 'p', 'small'].map((tag) => document.createElement(tag))
  paragraph.textContent = text
  note.textContent = `line ${line}, similarity ${score.toFixed(2)}`
  item.append(paragraph, note)
  return item
}

// ── The worker ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** @type {{ [type in FromWorker['type']]: (message: Extract<FromWorker, { type: type }>) => void }} */
const answers = {
  downloading: ({ bytes }) => show({ label: `Downloading the model: ${megabytes(bytes)}` }),
  ready({ bytes }) {
    work.hidden = name === ''
    if (name === '') status.textContent = `The model is ready: ${megabytes(bytes)} in memory.`
  },
  embedded({ done, total, seconds }) {
    if (done === total) return end(`${count(total)} of ${name} can be searched.`, total)
    const left = done > 0 ? `, ${duration((seconds / done) * (total - done))} left` : ''
    show({ label: `Reading ${name}: ${done.toLocaleString('en')} of ${count(total)}${left}`, done: done / total })
    // A part of the texts can be searched while the others are on their way.
    query.disabled = done === 0
    if (done > 0 && query.value.trim() !== '') search()
  },
  cancelled({ done, total }) {
    end(done > 0 ? `Stopped: ${done.toLocaleString('en')} of ${count(total)} can be searched.` : 'Stopped.', done)
  },
  found({ id, hits: texts, among }) {
    if (id !== lastSearch) return
    hits.replaceChildren(...texts.map(itemOf))
    found.textContent = `The closest ${texts.length} of ${count(among)}`
  },
  failed({ reason }) {
    work.hidden = true
    status.textContent = ''
    problem.textContent = reason
  }
}
worker.addEventListener('message', ({ data }) => answers[/** @type {FromWorker} */ (data).type](data))
worker.addEventListener('error', ({ message }) =>
  answers.failed({ type: 'failed', reason: message || 'the worker did not start' })
)

// ── Offline ──────────────────────────────────────────────────────────────────────────────────────────────────────────

if (/** @type {any} */ (import.meta).env.PROD && 'serviceWorker' in navigator) {
  await navigator.serviceWorker.register('./offline.js')
}
