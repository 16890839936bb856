export const bundlers = /** @type {import('./project.mjs').Consumer[]} */ ([])
