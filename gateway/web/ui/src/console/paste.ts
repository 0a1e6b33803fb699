// Understands what people paste: ids and numbers in any order, with whatever between them.

export interface Pair {
  id: string;
  phone: string;
}

export interface Pasted {
  pairs: Pair[];
  /** Lines that are left out, by their number from 1, and why. */
  wrong: { line: number; why: "needsBoth" | "idTooLarge" }[];
}

const MAX_ID = 2147483647;
const MAIL = /[^\s@,;"']+@[^\s@,;"']+\.[^\s@,;"']+/;
/** Ten digits and more, as numbers are written: with spaces, dashes, dots and parentheses inside. */
const PHONE = /(?:\+|tel:)?\d(?:[ ().-]{0,2}\d){9,14}/g;

export function understand(text: string): Pasted {
  const pasted: Pasted = { pairs: [], wrong: [] };
  text.split(/\r\n|\r|\n/).forEach((line, index) => {
    if (!line.trim()) return;
    const found = pairOf(line);
    if (typeof found === "string") pasted.wrong.push({ line: index + 1, why: found });
    else pasted.pairs.push(found);
  });
  return pasted;
}

function pairOf(line: string): Pair | "needsBoth" | "idTooLarge" {
  const cells = line.split(/[\t;,|"']+/).map((cell) => cell.trim()).filter(Boolean);
  if (cells.length > 1) {
    const phone = cells.find((cell) => MAIL.test(cell) || isPhone(cell));
    const id = cells.find((cell) => cell !== phone && /^\d{1,10}$/.test(cell));
    if (phone && id) return checked(id, MAIL.exec(phone)?.[0] ?? phone);
  }
  const mail = MAIL.exec(line)?.[0];
  const rest = mail ? line.replace(mail, " ") : line;
  for (const phone of mail ? [mail] : candidates(rest)) {
    const id = /(?<!\d)\d{1,10}(?!\d)/.exec(mail ? rest : rest.replace(phone, " "))?.[0];
    if (id) return checked(id, phone.trim());
  }
  return "needsBoth";
}

const isPhone = (cell: string) => {
  const digits = cell.replace(/\D/g, "");
  return digits.length >= 10 && digits.length <= 15 && /^(?:\+|tel:)?[\d ().-]+$/.test(cell) && !(/^\d{10}$/.test(cell) && Number(cell) <= MAX_ID);
};

/** Numbers in a line, words of eleven digits and more before what spaces join. */
function candidates(line: string): string[] {
  const words = line.split(/\s+/).filter((word) => word.replace(/\D/g, "").length >= 11);
  return [...words, ...(line.match(PHONE) ?? [])];
}

function checked(id: string, phone: string): Pair | "idTooLarge" {
  return Number(id) > MAX_ID || Number(id) < 1 ? "idTooLarge" : { id, phone };
}

/** What somebody looks for: a number or an address, or the id of a message. */
export function sought(text: string): { phone: string } | { id: string } | null {
  const wanted = text.trim();
  if (!wanted) return null;
  if (MAIL.test(wanted)) return { phone: wanted };
  return /^\d{1,10}$/.test(wanted) && Number(wanted) <= MAX_ID && wanted.length < 10 ? { id: wanted } : { phone: wanted };
}
