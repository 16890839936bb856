export const pages = /** @type {import('./project.mjs').Consumer[]} */ ([])
