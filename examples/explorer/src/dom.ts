// Makes and finds elements of the page.

export const byId = <T extends HTMLElement>(id: string) => document.getElementById(id) as T

export function element<Name extends keyof HTMLElementTagNameMap>(name: Name, text = '', className = '') {
  const made = document.createElement(name)
  made.textContent = text
  if (className !== '') made.className = className
  return made
}

/** An SVG element with attributes. */
export function drawn<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Record<string, string | number>
) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value))
  return made
}

/** A header cell. */
export function headerCell(scope: 'row' | 'col', text: string) {
  const cell = element('th', text)
  cell.scope = scope
  return cell
}

/** The value of the checked radio button of a group. */
export const checkedOf = (group: ParentNode) => group.querySelector<HTMLInputElement>('input:checked')?.value
