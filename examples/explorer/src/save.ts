// Saves a picture as a file: SVG as it is, or PNG at twice its size.

/** Pixels of a PNG for each of the picture's. */
const SCALE = 2

function download(file: Blob, name: string) {
  const address = URL.createObjectURL(file)
  const link = Object.assign(document.createElement('a'), { href: address, download: name })
  link.click()
  // The download has its own reference by then.
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}

const svgFile = (svg: string) => new Blob([svg], { type: 'image/svg+xml' })

async function pngFile(svg: string) {
  const address = URL.createObjectURL(svgFile(svg))
  try {
    const image = Object.assign(new Image(), { src: address })
    await image.decode()
    const canvas = document.createElement('canvas')
    canvas.width = image.naturalWidth * SCALE
    canvas.height = image.naturalHeight * SCALE
    canvas.getContext('2d')?.drawImage(image, 0, 0, canvas.width, canvas.height)
    return await new Promise<Blob>((resolve, reject) =>
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('the picture is too large for a PNG'))))
    )
  } finally {
    URL.revokeObjectURL(address)
  }
}

/** Buttons that save a picture. */
export function saveButtons(name: string, svg: string) {
  const row = document.createElement('p')
  row.className = 'save'
  for (const kind of ['SVG', 'PNG'] as const) {
    const button = Object.assign(document.createElement('button'), { type: 'button', textContent: `Save as ${kind}` })
    button.addEventListener('click', async () => {
      try {
        const file = kind === 'SVG' ? svgFile(svg) : await pngFile(svg)
        download(file, `${name.toLowerCase().replaceAll(/\W+/g, '-')}.${kind.toLowerCase()}`)
      } catch {
        // Browsers limit the size of a canvas.
        button.textContent = `Too large for ${kind}`
        button.disabled = true
      }
    })
    row.append(button)
  }
  return row
}
