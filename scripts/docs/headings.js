// A plugin of TypeDoc: names each document by its first heading, which Markdown files have anyway.
import { Converter } from 'typedoc'

/** @param {import('typedoc').Application} application */
export function load(application) {
  application.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, document) => {
    const text = document.content.map((part) => part.text).join('')
    document.name = /^# (.+)$/m.exec(text)?.[1] ?? document.name
  })
}
