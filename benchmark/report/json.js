// Formats a run as JSON, with everything that the other reports show.

/** @param {import('../types.d.ts').Report} report */
export const jsonReport = (report) => `${JSON.stringify(report, null, 2)}\n`
