// Values as text, in the units that a person reads.

export const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 }).format;
export const digits = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 }).format;
const short = (x) => (x >= 100 ? number(x) : digits(x));
export const percent = (share) => `${short(100 * share)} %`;
export const rate = (x) => `${short(x)}/s`;
export const milliseconds = (ms) => (ms < 1000 ? `${short(ms)} ms` : `${short(ms / 1000)} s`);
export const plural = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

export function bytes(n) {
  const power = n < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(n) / 10));
  return `${short(n / 1024 ** power)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return s < 86400 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}

export const ago = (seconds) => (seconds < 1 ? "just now" : `${duration(seconds)} ago`);

export function clock(ms) {
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString("en-GB") : date.toLocaleString("en-GB");
}
