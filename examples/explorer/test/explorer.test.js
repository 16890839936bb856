// End-to-end test of the built page in Chromium, served under its policy: settings take effect, and nothing else
// happens.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { cells, choose, faultsByAxe, kinds, openBrowser, settled, table, tokens, type } from './page.js'

/** @typedef {import('playwright-core').Page} Page */

/** Maximum time the page may freeze, on a shared machine; with the work on its thread it would freeze for seconds. */
const LONGEST_GAP = 1000

/** @type {Awaited<ReturnType<typeof openBrowser>>} */
let browser
/**
 * The page that most tests share, each starting from its initial state. @type {Awaited<ReturnType<typeof
 * browser.open>>}
 */
let shared

before(async () => {
  browser = await openBrowser()
  shared = await browser.open()
})

after(() => browser?.close())

/** @param {string} title @param {(page: Page, t: import('node:test').TestContext) => Promise<void>} body */
const onPage = (title, body) =>
  test(title, async (t) => {
    await backToStart(shared.page)
    await body(shared.page, t)
    assert.deepEqual(shared.faults, [])
  })

/**
 * Goes back to the initial settings, which an address without any has, as a reader does, without a new page.
 *
 * @param {Page} page
 */
async function backToStart(page) {
  await page.mouse.move(0, 0)
  await page.evaluate(async () => {
    if (location.hash === '') return
    const changed = new Promise((resolve) => window.addEventListener('hashchange', resolve, { once: true }))
    location.hash = ''
    await changed
  })
  await settled(page)
}

/** @param {Page} page */
const status = (page) => page.textContent('#status')

onPage('typed text becomes tokens, and the heatmap has a cell per pair of tokens', async (page) => {
  await choose(page, 'heads', 'mean')
  await type(page, 'The dog sees the cat.')
  const expected = ['[CLS]', 'the', 'dog', 'sees', 'the', 'cat', '.', '[SEP]']
  assert.deepEqual(await tokens(page), expected)
  const found = await cells(page)
  assert.deepEqual(
    found.map(({ query, key }) => `${query} ${key}`),
    expected.flatMap((query) => expected.map((key) => `${query} ${key}`))
  )
  const labels = await page.locator('figure[data-kind="heatmap"] svg text').allTextContents()
  for (const token of new Set(expected)) {
    const times = expected.filter((other) => other === token).length
    assert.equal(labels.filter((label) => label === token).length, 2 * times, `labels “${token}”`)
  }
  assert.match((await status(page)) ?? '', /^8 tokens in [\d.,]+ (µs|ms), median over [\d,]+ runs\.$/)
})

onPage('a word without an embedding is split into pieces, and the page says so', async (page) => {
  await type(page, 'Zylophonik 東')
  const found = await tokens(page)
  assert.equal(found.slice(1, -2).join('').replaceAll('##', ''), 'zylophonik')
  assert.equal(found.at(-2), '[UNK]')
  assert.match(
    (await page.textContent('#notes')) ?? '',
    /split into pieces.*\[UNK\] replaces characters that only the whole model knows/
  )
})

onPage('without words there are only the two markers', async (page) => {
  await type(page, '')
  assert.deepEqual(await tokens(page), ['[CLS]', '[SEP]'])
  assert.equal((await cells(page)).length, 4)
})

onPage('a sentence that is too long is cut off, and the page says so', async (page) => {
  await type(page, 'a b c d e '.repeat(30))
  const found = await tokens(page)
  assert.equal(found.length, 96)
  assert.equal(found.at(-1), '[SEP]')
  assert.match((await page.textContent('#notes')) ?? '', /cut off after the maximum length; 56 tokens are omitted/)
})

onPage('each mechanism draws its pictures, and its weights sum to 1', async (page) => {
  const expected = {
    'multi-head': ['heatmap'],
    'dot-product': ['heatmap'],
    linear: ['heatmap'],
    hyperbolic: ['disk', 'heatmap'],
    graph: ['graph', 'heatmap']
  }
  for (const [mechanism, pictures] of Object.entries(expected)) {
    await choose(page, 'mechanism', mechanism)
    assert.deepEqual(await kinds(page), pictures, mechanism)
    for (const row of await table(page)) {
      const sum = row.reduce((sum, value) => sum + value, 0)
      assert.ok(Math.abs(sum - 100) < 1, `a row of ${mechanism} has the sum ${sum}`)
    }
  }
})

onPage('scaled dot-product and a graph with all links give the weights of the layer', async (page) => {
  const layer = await table(page)
  await choose(page, 'mechanism', 'dot-product')
  assert.deepEqual(await table(page), layer)
  await choose(page, 'mechanism', 'graph')
  const near = await table(page)
  assert.notDeepEqual(near, layer)
  await page.selectOption('#links', 'everyone')
  await settled(page)
  assert.deepEqual(await table(page), layer)
})

onPage('the stages of scaled dot-product attention are scores, masked scores and weights', async (page) => {
  await choose(page, 'mechanism', 'dot-product')
  await choose(page, 'heads', 'mean')
  await choose(page, 'mask', 'causal')
  const title = () => page.locator('figure[data-kind="heatmap"] svg > title').textContent()
  assert.equal(await title(), 'Masked scores of layer 0, mean of 12 heads')
  const hidden = (await cells(page)).filter(({ value }) => value === '−∞')
  assert.equal(hidden.length, (16 * 15) / 2)
  await page.selectOption('#stage', 'scores')
  await settled(page)
  assert.equal((await cells(page)).filter(({ value }) => value === '−∞').length, 0)
  await page.selectOption('#stage', 'weights')
  await settled(page)
  assert.equal(await title(), 'Weights of layer 0, mean of 12 heads')
})

onPage('hyperbolic attention follows curvature and temperature', async (page) => {
  await choose(page, 'mechanism', 'hyperbolic')
  const before = await table(page)
  await page.selectOption('#curvature', '4')
  await settled(page)
  const curved = await table(page)
  assert.notDeepEqual(curved, before)
  await page.selectOption('#temperature', '2')
  await settled(page)
  const soft = await table(page)
  soft.forEach((row, token) => assert.ok(row[token] <= curved[token][token]))
  assert.ok(await page.locator('#heads input[value="mean"]').isDisabled())
  assert.match((await page.locator('[data-reason="heads"]').textContent()) ?? '', /one head/)
})

onPage('features of linear attention change its weights', async (page) => {
  const softmax = await table(page)
  await choose(page, 'mechanism', 'linear')
  const found = [await table(page)]
  for (const map of ['elu', 'relu']) {
    await page.selectOption('#featureMap', map)
    await settled(page)
    found.push(await table(page))
  }
  const distance = (/** @type {number[][]} */ weights) =>
    weights.flat().reduce((sum, weight, index) => sum + Math.abs(weight - softmax.flat()[index]), 0)
  const [favor, elu, relu] = found.map(distance)
  const elsewhere = (await page.textContent('#facts')) ?? ''
  assert.match(elsewhere, /Difference from softmax\d+ % of the attention/)
  assert.ok(favor > 0 && elu > 0 && relu > 0 && elu !== relu)
})

for (const mechanism of ['multi-head', 'linear', 'hyperbolic', 'graph']) {
  onPage(`under a causal mask no token sees later ones: ${mechanism}`, async (page) => {
    await choose(page, 'mechanism', mechanism)
    await choose(page, 'mask', 'causal')
    for (const [query, row] of (await table(page)).entries()) {
      assert.ok(row.every((weight, key) => key <= query || weight === 0))
      assert.ok(row.some((weight) => weight > 0))
    }
  })
}

onPage('under a causal mask, the upper triangle of the heatmap is empty', async (page) => {
  await choose(page, 'heads', 'mean')
  await choose(page, 'mask', 'causal')
  const found = await cells(page)
  assert.equal(found.length, 256)
  for (const [index, { value }] of found.entries()) {
    if (index % 16 > Math.floor(index / 16)) assert.equal(value, '0 %')
  }
})

onPage('a window keeps the tokens to either side', async (page) => {
  await choose(page, 'mask', 'window')
  for (const reach of [2, 0]) {
    await page.fill('#reach', String(reach))
    await settled(page)
    for (const [query, row] of (await table(page)).entries()) {
      row.forEach((weight, key) => assert.equal(weight > 0, Math.abs(key - query) <= reach, `${query} → ${key}`))
    }
  }
})

onPage('padding follows the sentence, and no token sees it', async (page) => {
  await choose(page, 'mask', 'padding')
  await page.fill('#padding', '4')
  await settled(page)
  assert.deepEqual((await tokens(page)).slice(-5), ['[SEP]', '[PAD]', '[PAD]', '[PAD]', '[PAD]'])
  for (const row of await table(page)) {
    assert.deepEqual(row.slice(16), [0, 0, 0, 0])
    assert.ok(row.slice(0, 16).every((weight) => weight > 0))
  }
})

onPage('linear attention has no windows: the option is disabled, reverted, and the page says why', async (page) => {
  await choose(page, 'mask', 'window')
  await choose(page, 'mechanism', 'linear')
  assert.ok(await page.locator('input[name="mask"][value="window"]').isDisabled())
  assert.ok(await page.locator('input[name="mask"][value="none"]').isChecked())
  assert.match((await status(page)) ?? '', /^Linear attention .* no windows\. 16 tokens/)
})

onPage('one head, several, all, or their mean', async (page) => {
  const heads = async () => [...new Set((await cells(page)).map(({ head }) => head))]
  const panels = () => page.locator('figure[data-kind="heatmap"] svg text', { hasText: /^Head \d+$/ }).allTextContents()
  assert.deepEqual(await heads(), [6])
  const one = await table(page)
  await choose(page, 'head', '7')
  assert.deepEqual(await panels(), ['Head 6', 'Head 7'])
  assert.notDeepEqual(await table(page), one)
  // The last head stays selected.
  await choose(page, 'head', '6')
  await choose(page, 'head', '7')
  assert.deepEqual(await panels(), ['Head 7'])
  assert.match((await status(page)) ?? '', /^At least one head must stay selected\./)
  assert.ok(await page.locator('input[name="head"][value="7"]').isChecked())
  await choose(page, 'heads', 'all')
  assert.equal((await panels()).length, 12)
  await choose(page, 'heads', 'mean')
  assert.deepEqual(await panels(), [])
})

onPage('the attention of the selected token is described in words', async (page) => {
  assert.match((await page.textContent('#sentence')) ?? '', /^“it” attends most to /)
  await choose(page, 'token', '5')
  const rows = await table(page)
  const best = rows[5].indexOf(Math.max(...rows[5]))
  const names = await tokens(page)
  assert.equal(names[5], 'fit')
  const [first] = await page.locator('#words li .word').allTextContents()
  assert.equal(first, names[best])
  assert.ok(((await page.textContent('#sentence')) ?? '').startsWith(`“fit” attends most to “${names[best]}” (`))
  await page.locator('figure[data-kind="heatmap"] svg text', { hasText: 'strongest attention of “fit”' }).waitFor()
})

/** The table of steps: a row per word, with the text of each cell. @param {Page} page */
const stepRows = (page) =>
  page
    .locator('#step-rows tr')
    .evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll('td')].map((cell) => cell.textContent ?? '')))

onPage('arcs go from the word that is selected or pointed at to the words that it looks at', async (page) => {
  const shares = async () => (await page.locator('#chips .share').allTextContents()).map((text) => parseFloat(text))
  const arcs = () => page.locator('#arcs .arc').count()
  const selected = await shares()
  assert.equal(await arcs(), selected.filter((share) => share >= 1.5).length)
  await page.hover('#chips label:nth-child(3)')
  const hovered = await shares()
  assert.notDeepEqual(hovered, selected)
  assert.ok(Math.abs((await table(page))[2][0] - hovered[0]) <= 0.55)
  await page.mouse.move(0, 0)
  assert.deepEqual(await shares(), selected)
})

onPage('the map shows every head, and choosing one shows its weights everywhere', async (page) => {
  assert.equal(await page.locator('#map input').count(), 72)
  assert.equal(await page.locator('#map input:enabled').count(), 12)
  const before = await page.textContent('#sentence')
  await page.hover('#map label:has([value="0.2"])')
  assert.match((await page.textContent('#looks-of')) ?? '', /^Layer 0, head 2$/)
  await choose(page, 'cell', '0.2')
  assert.match((await page.textContent('#map-said')) ?? '', /^Layer 0, head 2 looks almost only at the previous word/)
  assert.notEqual(await page.textContent('#sentence'), before)
  assert.ok(await page.isChecked('input[name="head"][value="2"]'))
  assert.equal(await page.textContent('#pictures svg > title'), 'Weights of layer 0, head 2')
})

onPage('the steps of a head end at the weights of the heatmap, and a mask hides words', async (page) => {
  const shares = async () => await page.locator('#chips .share').allTextContents()
  const rows = await stepRows(page)
  assert.deepEqual(
    rows.map((row) => row[3]),
    await shares()
  )
  for (const [product, scaled] of rows.map((row) => row.map((text) => Number(text.replace('−', '-'))))) {
    assert.ok(Math.abs(product / Math.sqrt(32) - scaled) < 0.011, `${product} ${scaled}`)
  }
  await choose(page, 'mask', 'causal')
  const masked = await stepRows(page)
  assert.deepEqual(
    masked.map((row) => row[3]),
    await shares()
  )
  masked.forEach((row, key) => assert.equal(row[2] === '−∞', key > 10))
  for (const [step, formula] of Object.entries({
    product: /^q · k = −?[\d.]+$/,
    scale: / ÷ 5\.657 = /,
    mask: / \+ 0 = /,
    softmax: / ÷ .* = [\d.]+ %$/,
    value: /^output = [\d.]+ % × v of “/
  })) {
    await choose(page, 'step', step)
    assert.match((await page.textContent('.formula')) ?? '', formula)
    assert.equal(await page.locator('#features figure').count(), 3)
  }
  await choose(page, 'mechanism', 'hyperbolic')
  assert.ok(await page.locator('#steps').isHidden())
})

onPage('a click on a cell pins it, a second one releases it', async (page) => {
  const cell = page.locator('figure[data-kind="heatmap"] path:has(> title)').nth(2 * 16 + 5)
  await cell.click()
  await page.locator('#pictures svg text', { hasText: '“trophy” → “fit”' }).waitFor()
  assert.match((await page.textContent('#steps-of')) ?? '', /^“trophy” in layer 0, head 6$/)
  assert.ok(await page.isChecked('input[name="key"][value="5"]'))
  assert.match(new URL(page.url()).hash, /token=2&key=5$/)
  await page.reload()
  await settled(page)
  assert.ok(await page.isChecked('input[name="key"][value="5"]'))
  await cell.click()
  await page.locator('#pictures svg text', { hasText: 'strongest attention of “trophy”' }).waitFor()
  await choose(page, 'heads', 'all')
  await page.evaluate(() => {
    const panel = document.querySelectorAll('figure[data-kind="heatmap"] g[shape-rendering="crispEdges"]')[7]
    const { x, y, width, height } = panel.getBoundingClientRect()
    const at = { clientX: x + width / 2, clientY: y + height / 2 }
    panel.dispatchEvent(new MouseEvent('click', { ...at, bubbles: true }))
  })
  await settled(page)
  assert.ok(await page.isChecked('input[name="cell"][value="0.7"]'))
})

onPage('every backend of the browser is timed, and memory and sizes are shown', async (page) => {
  await page.click('#measure')
  await settled(page)
  const rows = await page.locator('#timings tbody tr').allTextContents()
  assert.equal(rows.length, 2)
  for (const row of rows) assert.match(row, /^(Relaxed )?SIMD[\d.]+ (µs|ms)\d+\d{3} kB$/)
  const facts = (await page.textContent('#facts')) ?? ''
  assert.match(facts, /WebAssembly, (relaxed-simd|simd128)/)
  assert.match(facts, /[\d.]+ [kM]B in use, [\d.]+ MB at peak, [\d.]+ MB reserved/)
  assert.match(facts, /Largest difference from PyTorch\d(\.\d)?e-[67]/)
})

onPage('a long text can be cancelled at once, and the page never freezes', async (page, t) => {
  const before = await page.textContent('#sentence')
  await page.evaluate(watchFrames)
  await page.selectOption('#length', '4096')
  await page.waitForSelector('body[data-slow]')
  await page.waitForFunction(
    () => /** @type {HTMLProgressElement} */ (document.getElementById('progress')).value > 0.02
  )
  assert.match((await status(page)) ?? '', /^Computing…$/)
  const start = Date.now()
  await page.click('#cancel')
  await page.waitForFunction(() => document.getElementById('status')?.textContent?.startsWith('Cancelled'))
  const took = Date.now() - start
  assert.ok(took < 1000, `cancelling took ${took} ms`)
  assert.equal(await page.textContent('#sentence'), before)
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'results')
  // The worker is free again, and still the same.
  await page.selectOption('#length', '1024')
  await settled(page)
  assert.match((await status(page)) ?? '', /^1,024 tokens in .*, one run\.$/)
  const { longest, frames } = await page.evaluate(framesSeen)
  t.diagnostic(`cancelling took ${took} ms; the longest of ${frames} frames, ${Math.round(longest)} ms`)
  assert.ok(frames > 20)
  assert.ok(longest < LONGEST_GAP, `the page froze for ${longest} ms`)
})

onPage('the progress of a long text never decreases', async (page) => {
  await page.evaluate(() => {
    const progress = /** @type {HTMLProgressElement} */ (document.getElementById('progress'))
    const seen = /** @type {number[]} */ ([])
    Object.assign(globalThis, { seen })
    new MutationObserver(() => seen.push(progress.value)).observe(progress, { attributeFilter: ['value'] })
  })
  await page.selectOption('#length', '2048')
  await settled(page)
  /** @type {number[]} */
  const seen = await page.evaluate(() => /** @type {any} */ (globalThis).seen)
  const own = seen.slice(seen.lastIndexOf(0))
  assert.ok(own.length > 10)
  own.forEach((value, index) => assert.ok(index === 0 || value >= own[index - 1]))
  assert.equal((await kinds(page)).length, 1)
  assert.match((await page.textContent('figure[data-kind="heatmap"]')) ?? '', /Each cell covers 32 × 32 tokens/)
})

onPage('new settings replace the current run', async (page) => {
  await page.selectOption('#length', '4096')
  await page.waitForSelector('body[data-slow]')
  await page.selectOption('#length', '0')
  await settled(page)
  assert.match((await status(page)) ?? '', /^16 tokens/)
})

test('a file that cannot be fetched is named', async () => {
  const { context, page } = await browser.open({ serviceWorkers: 'block' })
  await context.route('**/*.safetensors', (route) => route.fulfill({ status: 503 }))
  await page.reload()
  await page.waitForFunction(() => document.getElementById('status')?.textContent?.startsWith('Failed'))
  assert.match((await status(page)) ?? '', /(embeddings|layer0)-\S+\.safetensors could not be fetched: 503/)
  await context.close()
})

test('once loaded, the page works offline and never contacts other hosts', async () => {
  const { context, page, faults, origins } = await browser.open()
  await page.evaluate(() => navigator.serviceWorker.ready)
  await context.setOffline(true)
  await page.reload()
  await settled(page)
  await choose(page, 'mechanism', 'linear')
  await page.click('#measure')
  await settled(page)
  assert.equal(await page.locator('#timings tbody tr').count(), 2)
  assert.ok(!((await page.textContent('#timings')) ?? '').includes('does not run'))
  assert.deepEqual([...origins], [new URL(browser.address).origin])
  assert.deepEqual(faults, [])
  await context.close()
})

onPage('the address has the settings that were changed, and a page opened with it shows the same', async (page, t) => {
  assert.equal(new URL(page.url()).hash, '')
  await type(page, 'Ein Wolf, être 狼?')
  await choose(page, 'head', '7')
  await choose(page, 'mask', 'causal')
  await choose(page, 'step', 'mask')
  await page.locator('input[name="token"][value="2"]').locator('xpath=..').click()
  await settled(page)
  const expected = {
    tokens: await tokens(page),
    sentence: await page.textContent('#sentence'),
    cells: await cells(page)
  }
  const address = page.url()
  assert.deepEqual([...new URLSearchParams(new URL(address).hash.slice(1)).keys()].sort(), [
    'head',
    'head',
    'mask',
    'step',
    'text',
    'token'
  ])
  const other = await browser.open({}, new URL(address).hash)
  t.after(() => other.context.close())
  assert.equal(await other.page.textContent('#sentence'), expected.sentence)
  assert.deepEqual(await tokens(other.page), expected.tokens)
  assert.deepEqual(await cells(other.page), expected.cells)
  assert.ok(await other.page.isChecked('input[name="mask"][value="causal"]'))
  // An address without settings has the initial ones, as one with values that do not exist.
  for (const hash of ['#', '#mechanism=none&stage=x&heads=3&reach=1e9&token=x&head=99&nothing=1']) {
    await other.page.goto(browser.address + hash)
    await other.page.waitForFunction(() => document.getElementById('sentence')?.textContent?.startsWith('“it”'))
    await settled(other.page)
    assert.equal((await tokens(other.page)).length, 16)
    assert.ok(await other.page.isChecked('input[name="mask"][value="none"]'))
  }
  assert.deepEqual(other.faults, [])
})

onPage('a file that is not a writing model is refused', async (page) => {
  await page.setInputFiles('#generator-file', [
    { name: 'x.gguf', mimeType: '', buffer: Buffer.from('GGUF of no kind') }
  ])
  await page.waitForFunction(() => document.getElementById('writer-said')?.textContent?.startsWith('Failed'))
  assert.match((await page.textContent('#writer-said')) ?? '', /^Failed: .*GGUF/)
  assert.ok(await page.locator('#writer-form').isHidden())
})

onPage('a picture is saved as SVG and as PNG', async (page) => {
  await choose(page, 'heads', 'mean')
  for (const [kind, start] of /** @type {const} */ ([
    ['SVG', '<svg xmlns'],
    ['PNG', '\x89PNG']
  ])) {
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.click(`figure[data-kind="heatmap"] button:text("Save as ${kind}")`)
    ])
    assert.equal(file.suggestedFilename(), `heatmap.${kind.toLowerCase()}`)
    const bytes = readFileSync(await file.path())
    assert.equal(bytes.subarray(0, start.length).toString('latin1'), start)
    assert.ok(bytes.length > 2000, `${kind}: ${bytes.length} bytes`)
  }
})

onPage('everything can be used from the keyboard', async (page) => {
  // The focus is at the start again.
  await page.reload()
  await settled(page)
  const focused = () =>
    page.evaluate(() => {
      const { id, name } = /** @type {HTMLInputElement} */ (document.activeElement)
      return id || name || document.activeElement?.textContent
    })
  const stops = []
  for (let stop = 0; stop < 7; stop++) {
    await page.keyboard.press('Tab')
    stops.push(await focused())
  }
  assert.deepEqual(stops, [
    'Skip to the results',
    'theme',
    'text',
    'sample',
    'files',
    'Where its files come from',
    'token'
  ])
  await page.keyboard.press('ArrowRight')
  assert.match((await page.textContent('#sentence')) ?? '', /^“was” attends/)
  await page.keyboard.press('Tab')
  assert.equal(await focused(), 'cell')
  await page.keyboard.press('ArrowRight')
  await settled(page)
  assert.match((await page.textContent('#map-said')) ?? '', /^Layer 0, head 7 looks /)
  await page.focus('input[name="key"]:checked')
  await page.keyboard.press('ArrowDown')
  await settled(page)
  assert.equal(await focused(), 'key')
  assert.match(new URL(page.url()).hash, /key=\d+/)
  await page.focus('input[name="mechanism"]:checked')
  await page.keyboard.press('ArrowUp')
  await settled(page)
  assert.ok(await page.isChecked('input[value="graph"]'))
  assert.deepEqual(await kinds(page), ['graph', 'heatmap'])
  await page.focus('#text')
  await page.keyboard.press('Control+A')
  await page.keyboard.type('I know that')
  await settled(page)
  assert.deepEqual(await tokens(page), ['[CLS]', 'i', 'know', 'that', '[SEP]'])
  const ring = await page.evaluate(() => getComputedStyle(/** @type {Element} */ (document.activeElement)).outlineStyle)
  assert.equal(ring, 'solid')
})

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  onPage(`axe finds no problem with any mechanism in the ${colorScheme} theme`, async (page, t) => {
    t.after(() => page.emulateMedia({ colorScheme: 'light' }))
    await page.emulateMedia({ colorScheme })
    await type(page, 'A cat sees it.')
    await table(page)
    // The theme changes colors alone, and a mechanism only its pictures and settings.
    const options = colorScheme === 'dark' ? { runOnly: 'color-contrast' } : {}
    assert.deepEqual(await faultsByAxe(page, ['html'], options), [])
    for (const mechanism of ['dot-product', 'linear', 'hyperbolic', 'graph']) {
      await choose(page, 'mechanism', mechanism)
      assert.deepEqual(await faultsByAxe(page, ['#pictures', '#settings'], options), [], mechanism)
    }
  })
}

onPage('the theme follows the system, or the selection, which is stored', async (page, t) => {
  t.after(() => page.emulateMedia({ colorScheme: 'light' }))
  await page.emulateMedia({ colorScheme: 'dark' })
  const drawnOn = (/** @type {string} */ paper) => page.waitForSelector(`#pictures svg rect[fill="${paper}"]`)
  const papers = () =>
    page.evaluate(() => [
      getComputedStyle(document.body).backgroundColor,
      document.querySelector('#pictures svg rect')?.getAttribute('fill')
    ])
  const dark = ['rgb(11, 14, 20)', '#12161f']
  const light = ['rgb(243, 245, 249)', '#ffffff']
  await drawnOn(dark[1])
  assert.deepEqual(await papers(), dark)
  await choose(page, 'theme', 'light')
  await drawnOn(light[1])
  assert.deepEqual(await papers(), light)
  await page.reload()
  await settled(page)
  assert.deepEqual(await papers(), light)
  await choose(page, 'theme', 'auto')
  await drawnOn(dark[1])
  assert.deepEqual(await papers(), dark)
  await page.reload()
  await settled(page)
  assert.deepEqual(await papers(), dark)
  await page.emulateMedia({ colorScheme: 'light' })
  await drawnOn(light[1])
})

onPage('on a narrow screen nothing overflows the page', async (page, t) => {
  const size = /** @type {{ width: number, height: number }} */ (page.viewportSize())
  t.after(() => page.setViewportSize(size))
  await page.setViewportSize({ width: 360, height: 740 })
  const tops = await page.evaluate(() =>
    ['#text', '#tokens', '#settings'].map((id) => document.querySelector(id)?.getBoundingClientRect().top ?? 0)
  )
  assert.deepEqual(
    tops,
    tops.toSorted((a, b) => a - b),
    'results come before the settings'
  )
  for (const mechanism of ['multi-head', 'hyperbolic', 'graph']) {
    await choose(page, 'mechanism', mechanism)
    const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth])
    assert.ok(wide <= room, `${mechanism} is ${wide} pixels wide`)
  }
})

/** Runs in the page: records the time between frames. */
function watchFrames() {
  const seen = { longest: 0, frames: 0, last: performance.now() }
  Object.assign(globalThis, { frameTimes: seen })
  const next = () => {
    const now = performance.now()
    seen.longest = Math.max(seen.longest, now - seen.last)
    seen.last = now
    seen.frames += 1
    requestAnimationFrame(next)
  }
  requestAnimationFrame(next)
}

/** @returns {{ longest: number, frames: number }} */
function framesSeen() {
  return /** @type {any} */ (globalThis).frameTimes
}
