// @ts-check

/** A random id of 128 bits. `crypto.randomUUID` is missing on plain http beyond localhost; this is not. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
