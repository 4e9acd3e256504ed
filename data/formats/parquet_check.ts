/**
 * Checks of a Parquet file's headers before they are believed: the library that decodes pages makes room for as
 * many bytes, values and list elements as a header names, so a damaged or hostile file of a few bytes could ask
 * for gigabytes.
 *
 * What pages hold is left to the library. A run of levels or of indices into a dictionary, and the shared prefixes
 * of DELTA_BYTE_ARRAY, can still stand for more than the headers say, and the library has no limit for these.
 *
 * Headers are in Thrift's compact protocol, of which this reads what it needs: integers and structures, by their
 * fields' numbers in Parquet's definition, `parquet.thrift`.
 *
 * @module
 */

/** A structure: its integers and structures by number. */
interface Fields {
  readonly numbers: Map<number, number>;
  readonly structs: Map<number, Fields>;
}

/** The deepest that Parquet's own structures go is about 6. */
const MAX_DEPTH = 32;

/** A place in bytes. */
class Cursor {
  offset = 0;

  constructor(readonly view: DataView) {}

  get left(): number {
    return this.view.byteLength - this.offset;
  }

  byte(): number {
    return this.view.getUint8(this.offset++);
  }

  skip(count: number): void {
    if (!(count >= 0 && count <= this.left)) throw new Error("a header goes beyond its end");
    this.offset += count;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1, byte = 128; byte > 127; scale *= 128) {
      byte = this.byte();
      value += (byte & 127) * scale;
    }
    return value;
  }

  integer(): number {
    const zigzag = this.varint();
    return zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
  }

  struct(depth = 0): Fields {
    if (depth > MAX_DEPTH) throw new Error("a header is nested too deeply");
    const fields: Fields = { numbers: new Map(), structs: new Map() };
    for (let id = 0;;) {
      const byte = this.byte();
      const type = byte & 15;
      if (type === 0) return fields;
      id = byte >> 4 === 0 ? this.integer() : id + (byte >> 4);
      const value = this.value(type, depth);
      if (typeof value === "number") fields.numbers.set(id, value);
      else if (value !== undefined) fields.structs.set(id, value);
    }
  }

  value(type: number, depth: number): number | Fields | undefined {
    if (type === 1 || type === 2) return undefined; // a boolean is its type
    if (type === 3) this.skip(1);
    else if (type >= 4 && type <= 6) return this.integer();
    else if (type === 7) this.skip(8);
    else if (type === 8) this.skip(this.varint());
    else if (type === 9) this.list(depth + 1);
    else if (type === 12) return this.struct(depth + 1);
    else throw new Error(`a header has a field of the unknown type ${type}`);
  }

  list(depth: number): void {
    if (depth > MAX_DEPTH) throw new Error("a header is nested too deeply");
    const byte = this.byte();
    const count = byte >> 4 === 15 ? this.varint() : byte >> 4;
    // Every element takes a byte at least.
    if (count > this.left) throw new Error(`a header has a list of ${count} elements in ${this.left} bytes`);
    const type = byte & 15;
    for (let i = 0; i < count; i++) {
      if (type === 1 || type === 2) this.skip(1);
      else this.value(type, depth);
    }
  }
}

/**
 * Checks that the lists and strings of a structure are not longer than its bytes.
 *
 * @param view The bytes, at whose start the structure is.
 * @throws {Error} When they are.
 */
export function checkStructure(view: DataView): void {
  new Cursor(view).struct();
}

/** What a footer says of the pages of a column in one row group. */
export interface DeclaredPages {
  /** Their length together when they are decompressed, in bytes. */
  readonly bytes: number;
  /** How many rows, and so values, they have. */
  readonly rows: number;
}

const DATA_PAGE = 0, DICTIONARY_PAGE = 2, DATA_PAGE_V2 = 3;

/**
 * Checks that pages ask for no more than a footer says that they have.
 *
 * @param buffer Pages side by side, each with its header, of a column of strings that is not nested.
 * @param declared What the footer says of all pages of the column.
 * @throws {Error} When they ask for more.
 */
export function checkPages(buffer: ArrayBuffer, declared: DeclaredPages): void {
  const cursor = new Cursor(new DataView(buffer));
  let bytes = 0, rows = 0;
  // After the last row there may be anything, which nobody reads.
  while (rows < declared.rows && cursor.left > 1) {
    const { numbers, structs } = cursor.struct();
    const [type, size = -1, compressed = -1] = [1, 2, 3].map((id) => numbers.get(id));
    const count = (header: number, field: number) => structs.get(header)?.numbers.get(field) ?? -1;
    bytes += size;
    if (size < 0 || bytes > declared.bytes) {
      throw new Error(
        `its pages must have the ${declared.bytes} bytes that its footer says, and ask for more`,
      );
    }
    if (type === DICTIONARY_PAGE) {
      // A string has four bytes for its length.
      const values = count(7, 1);
      if (values < 0 || 4 * values > size) {
        throw new Error(`a dictionary has ${values} values in ${size} bytes`);
      }
    } else if (type === DATA_PAGE || type === DATA_PAGE_V2) {
      const header = type === DATA_PAGE ? 5 : 8;
      const values = count(header, 1);
      rows += values;
      if (values < 0 || rows > declared.rows) {
        throw new Error(`its pages must have the ${declared.rows} rows that its footer says, and name more`);
      }
    }
    cursor.skip(compressed);
  }
}
