export const types = /** @type {import('./project.mjs').Consumer[]} */ ([])
