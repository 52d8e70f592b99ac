// nexus detect as a user and as a script meet it: the real binary, real pictures, real pipes.

import assert from 'node:assert/strict';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { before, describe, it } from 'node:test';
import {
  assertRefused,
  bash,
  counts,
  detectJson,
  nexus,
  parseCsv,
  scratch,
  skipWithout,
  skipWithoutFull,
  start,
} from './lib/cli.mjs';
import { sharedPath, skipWithoutShared } from './lib/server.mjs';

const skip = skipWithoutShared();
const picture = (name) => sharedPath(`images/${name}`);
const BUS = picture('bus.jpg');
const ZIDANE = picture('zidane.jpg');

describe('detect: what it is given', { skip }, () => {
  it('tells a person what is in a picture', async () => {
    const { code, stdout, stderr } = await nexus(['detect', BUS]);
    assert.equal(code, 0, stderr);
    assert.equal(stderr, '');
    const lines = stdout.trimEnd().split('\n');
    assert.match(lines[0], /bus\.jpg {2}810x1080 {2}4 person, 1 bus {2}\(\d+ ms\)$/);
    assert.equal(lines.length, 6);
    for (const line of lines.slice(1)) {
      assert.match(line, /^ {2}(person|bus {3}) {2}0\.\d\d {2}\d+,\d+ \d+,\d+$/);
    }
  });

  it('answers in the order of the inputs', async () => {
    const inputs = [ZIDANE, picture('odd/1x1.png'), BUS, ZIDANE, picture('people1-1200x800.jpg')];
    const { code, results } = await detectJson(inputs);
    assert.equal(code, 0);
    assert.deepEqual(
      results.map((r) => r.source),
      inputs,
    );
    assert.deepEqual(counts(results[2].detections), { person: 4, bus: 1 });
    assert.deepEqual(results[0].detections, results[3].detections);
  });

  it('takes the pictures of a folder, and of its subfolders when asked', async (t) => {
    const folder = scratch(t);
    mkdirSync(join(folder, 'sub'));
    copyFileSync(picture('odd/1x1.jpg'), join(folder, 'b.JPG'));
    copyFileSync(picture('odd/1x1.png'), join(folder, 'a.png'));
    copyFileSync(picture('odd/1x1.png'), join(folder, 'sub', 'c.png'));
    writeFileSync(join(folder, 'notes.txt'), 'no picture');
    const names = ({ results }) => results.map((r) => r.source.slice(folder.length + 1));
    assert.deepEqual(names(await detectJson([folder])), ['a.png', 'b.JPG']);
    assert.deepEqual(names(await detectJson(['--recursive', folder])), [
      'a.png',
      'b.JPG',
      'sub/c.png',
    ]);
    assert.deepEqual(names(await detectJson([`${folder}/?.png`])), ['a.png']);
  });

  it('reads a picture from a pipe', async () => {
    const { code, results } = await detectJson(['-'], { input: readFileSync(BUS) });
    assert.equal(code, 0);
    assert.equal(results[0].source, '-');
    assert.deepEqual(counts(results[0].detections), { person: 4, bus: 1 });
    const { stdout } = await bash(`cat '${BUS}' | "$NEXUS" detect - --classes bus`);
    assert.match(stdout, /1 bus/);
  });

  it('serves the others when one is missing', async () => {
    const { code, results, stderr } = await detectJson([ZIDANE, 'no/such.jpg', BUS]);
    assert.equal(code, 1);
    assert.equal(
      stderr.split('\n')[0],
      'nexus detect: cannot open no/such.jpg: No such file or directory',
    );
    assert.match(stderr, /^3 pictures, 1 failed, \d+ detections in /m);
    assert.deepEqual(
      results.map((r) => r.error?.code),
      [undefined, 'not_found', undefined],
    );
    assert.match(results[1].error.message, /no\/such\.jpg/);
    assert.deepEqual(counts(results[2].detections), { person: 4, bus: 1 });
  });

  it('exits with 1 when all fail', async () => {
    const { code, results } = await detectJson(['no-1.jpg', picture('odd/text.jpg')]);
    assert.equal(code, 1);
    assert.deepEqual(
      results.map((r) => r.error.code),
      ['not_found', 'unsupported'],
    );
  });

  it('says when there is nothing to look at', async (t) => {
    const folder = scratch(t);
    assertRefused(await nexus(['detect', folder]), 3, /the folder .* has no \.jpg.*--recursive/);
    assertRefused(
      await nexus(['detect', `${folder}/*.jpg`]),
      3,
      /nothing matches the pattern '.*\*\.jpg'/,
    );
  });

  it('lets no escape sequence of a file name through to the terminal', async (t) => {
    const evil = join(scratch(t), 'a\x1b]0;b\x07\n.jpg');
    copyFileSync(picture('odd/1x1.jpg'), evil);
    const { code, stdout, stderr } = await nexus([
      'detect',
      evil,
      `${evil}.gone`,
      '--annotate',
      scratch(t),
    ]);
    assert.equal(code, 1, stderr);
    assert.doesNotMatch(stdout + stderr, /[\x07\x1b]/);
    assert.match(stdout, /a\?\]0;b\?\?\.jpg {2}1x1 {2}nothing found/);
    assert.match(stdout, /annotated picture: .*a\?\]0;b\?\?\.jpg/);
    assert.match(stderr, /a\?\]0;b\?\?\.jpg\.gone/);
  });
});

describe('detect: filters', { skip }, () => {
  const found = async (...args) => {
    const { code, stderr, results } = await detectJson([BUS, ...args]);
    assert.equal(code, 0, stderr);
    return results[0].detections;
  };

  it('takes classes by name, in any case, and by number', async () => {
    assert.deepEqual(counts(await found('--classes', 'BUS')), { bus: 1 });
    assert.deepEqual(counts(await found('--classes', '5')), { bus: 1 });
    assert.deepEqual(counts(await found('--classes', ' person , 5')), { person: 4, bus: 1 });
    assert.deepEqual(await found('--classes', 'dog'), []);
  });

  it('suggests a class for a misspelt one, and leaves the output file alone', async (t) => {
    const output = join(scratch(t), 'kept.json');
    writeFileSync(output, 'kept');
    const refused = await nexus(['detect', BUS, '--classes', 'prson', '--output', output]);
    assertRefused(refused, 2, /no class 'prson'; did you mean 'person'\?/);
    assert.equal(readFileSync(output, 'utf8'), 'kept');
    assertRefused(await nexus(['detect', BUS, '--classes', '80']), 2, /no class '80' \(it has 80,/);
    assertRefused(await nexus(['detect', BUS, '--classes', 'bus,,car']), 2, /an empty entry/);
  });

  it('drops weak detections, keeps overlapping ones, counts to a maximum', async () => {
    const all = await found();
    const strong = await found('--conf', '0.85');
    assert.deepEqual(
      strong,
      all.filter((d) => d.confidence >= 0.85),
    );
    assert.ok(strong.length < all.length);
    assert.ok((await found('--iou', '0.95')).length > all.length);
    assert.deepEqual(await found('--max', '2'), all.slice(0, 2));
  });
});

describe('detect: formats', { skip }, () => {
  let expected;
  before(async () => {
    ({ results: expected } = await detectJson([BUS, ZIDANE]));
  });

  it('json', () => {
    for (const result of expected) {
      assert.deepEqual(Object.keys(result), [
        'source',
        'image',
        'model',
        'execution_provider',
        'detections',
        'timings_ms',
      ]);
      assert.ok(result.timings_ms.total >= result.timings_ms.inference);
    }
    assert.deepEqual(expected[0].image, { width: 810, height: 1080 });
  });

  it('ndjson: a line a picture, errors too', async () => {
    const { stdout } = await nexus(['detect', '-f', 'ndjson', BUS, 'gone.jpg', ZIDANE]);
    assert.ok(stdout.endsWith('}\n'));
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map((l) => l.source),
      [BUS, 'gone.jpg', ZIDANE],
    );
    assert.equal(lines[1].error.code, 'not_found');
    assert.deepEqual(lines[2].detections, expected[1].detections);
  });

  it('csv: a row a detection, names quoted', async (t) => {
    const odd = join(scratch(t), 'a, "b"\n.jpg');
    copyFileSync(BUS, odd);
    const { code, stdout } = await nexus(['detect', '-f', 'csv', odd, ZIDANE]);
    assert.equal(code, 0);
    const [header, ...rows] = parseCsv(stdout);
    assert.deepEqual(
      header,
      'source,image_width,image_height,class_id,class_name,confidence,x1,y1,x2,y2'.split(','),
    );
    const wanted = expected.flatMap(({ image, detections }, i) =>
      detections.map((d) => [
        i === 0 ? odd : ZIDANE,
        ...[image.width, image.height, d.class_id, d.class_name, d.confidence],
        ...[d.box.x1, d.box.y1, d.box.x2, d.box.y2],
      ]),
    );
    const typed = rows.map((row) =>
      row.map((cell, i) => (i === 0 || i === 4 ? cell : Number(cell))),
    );
    assert.deepEqual(typed, wanted);
  });

  it('coco: results as pycocotools reads them', async () => {
    const inputs = [sharedPath('coco/images/000000000009.jpg'), BUS];
    const { code, stdout } = await nexus(['detect', '--format=coco', ...inputs]);
    assert.equal(code, 0);
    const entries = JSON.parse(stdout);
    assert.ok(entries.some((e) => e.image_id === 9));
    const bus = entries.filter((e) => e.image_id === 'bus');
    assert.equal(bus.length, expected[0].detections.length);
    for (const [i, { class_id, confidence, box }] of expected[0].detections.entries()) {
      assert.deepEqual(Object.keys(bus[i]), ['image_id', 'category_id', 'bbox', 'score']);
      assert.equal(bus[i].category_id, class_id);
      assert.ok(Math.abs(bus[i].score - confidence) < 1e-4);
      const [x, y, width, height] = bus[i].bbox;
      for (const [got, want] of [
        [x, box.x1],
        [y, box.y1],
        [x + width, box.x2],
        [y + height, box.y2],
      ]) {
        assert.ok(Math.abs(got - want) < 0.02, `${got} is not ${want}`);
      }
    }
  });

  it('yolo: lines between 0 and 1, a file for each picture with --output', async (t) => {
    const folder = join(scratch(t), 'labels', 'new');
    const one = await nexus(['detect', '-f', 'yolo', BUS]);
    const more = await nexus(['detect', '-f', 'yolo', BUS, ZIDANE]);
    const files = await nexus([
      'detect',
      '-f',
      'yolo',
      '-o',
      folder,
      BUS,
      ZIDANE,
      picture('odd/1x1.png'),
    ]);
    assert.equal(files.code, 0, files.stderr);
    assert.equal(files.stdout, '');
    assert.deepEqual(readdirSync(folder).sort(), ['1x1.txt', 'bus.txt', 'zidane.txt']);
    const label = (name) => readFileSync(join(folder, name), 'utf8');
    assert.equal(label('bus.txt'), one.stdout);
    assert.equal(label('1x1.txt'), '');
    assert.equal(more.stdout, `# ${BUS}\n${label('bus.txt')}# ${ZIDANE}\n${label('zidane.txt')}`);
    const { image, detections } = expected[0];
    const rows = one.stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' ').map(Number));
    for (const [i, [id, x, y, width, height, confidence]] of rows.entries()) {
      const { class_id, box } = detections[i];
      assert.equal(id, class_id);
      assert.ok([x, y, width, height, confidence].every((n) => n > 0 && n <= 1));
      assert.ok(Math.abs((x - width / 2) * image.width - box.x1) < 0.02);
      assert.ok(Math.abs((y + height / 2) * image.height - box.y2) < 0.02);
    }
    assert.equal(rows.length, detections.length);
  });

  it('--output writes the file and nothing else', async (t) => {
    const file = join(scratch(t), 'found.json');
    const { code, stdout } = await nexus(['detect', BUS, '--format', 'json', '--output', file]);
    assert.equal(code, 0);
    assert.equal(stdout, '');
    const [{ detections }] = JSON.parse(readFileSync(file, 'utf8'));
    assert.deepEqual(detections, expected[0].detections);
  });
});

describe('detect: --annotate', { skip }, () => {
  it('writes pictures that can be read again, under names of their own', async (t) => {
    const folder = scratch(t);
    for (const camera of ['one', 'two']) {
      mkdirSync(join(folder, camera));
    }
    copyFileSync(BUS, join(folder, 'one', 'x.jpg'));
    copyFileSync(ZIDANE, join(folder, 'two', 'x.jpg'));
    const out = join(folder, 'deep', 'out');
    const { code, stdout, stderr } = await nexus([
      'detect',
      '-a',
      out,
      `${folder}/one`,
      `${folder}/two`,
    ]);
    assert.equal(code, 0, stderr);
    assert.deepEqual(readdirSync(out).sort(), ['x-2.jpg', 'x.jpg']);
    assert.match(
      stdout,
      /annotated picture: .*\/x\.jpg\n.*two\/x\.jpg[^]*annotated picture: .*\/x-2\.jpg\n$/,
    );
    assert.notDeepEqual(readFileSync(join(out, 'x.jpg')), readFileSync(BUS));
    const again = await detectJson([join(out, 'x.jpg'), join(out, 'x-2.jpg')]);
    assert.equal(again.code, 0, again.stderr);
    assert.deepEqual(
      again.results.map((r) => r.image),
      [
        { width: 810, height: 1080 },
        { width: 1280, height: 720 },
      ],
    );
    assert.ok(counts(again.results[0].detections).bus >= 1);
  });

  it('calls the picture of a pipe stdin', async (t) => {
    const out = scratch(t);
    await nexus(['detect', '-', '-a', out], { input: readFileSync(picture('odd/rgb16.png')) });
    assert.deepEqual(readdirSync(out), ['stdin.jpg']);
  });

  it('does not write over what it reads', async (t) => {
    const folder = scratch(t);
    const file = join(folder, 'x.jpg');
    copyFileSync(BUS, file);
    assertRefused(await nexus(['detect', file, '-a', folder]), 2, /--annotate .*use another one/);
    assertRefused(await nexus(['detect', file, '-o', file]), 2, /--output .*: a picture to read/);
    assert.deepEqual(readFileSync(file), readFileSync(BUS));
    const { code } = await nexus(['detect', file, '-o', `${file}.txt`, '-a', `${folder}/out`]);
    assert.equal(code, 0);
    assert.deepEqual(readdirSync(folder).sort(), ['out', 'x.jpg', 'x.jpg.txt']);
  });

  it('refuses a folder that cannot be', async () => {
    const refused = await nexus(['detect', BUS, '--annotate', '/dev/null/out']);
    assertRefused(refused, 3, /cannot make the folder \/dev\/null/);
  });
});

describe('detect: odd pictures', { skip }, () => {
  // At a confidence of 0.5: width, height, persons, buses; or what it says.
  const ZIDANE_640 = [640, 360, 2, 0];
  const BUS_405 = [405, 540, 3, 1];
  const EXPECTED = {
    '1x1.jpg': [1, 1, 0, 0],
    '1x1.png': [1, 1, 0, 0],
    'alpha.png': BUS_405,
    'base640.jpg': ZIDANE_640,
    'bomb-20000x20000.png':
      /too_large: the PNG has 20000x20000 = 400000000 pixels, more than the limit/,
    'corrupt-middle.jpg': /corrupt: the JPEG is damaged near row \d+ of 1080/,
    'empty.jpg': /: the image is empty \(0 bytes\)/,
    'exif-1.jpg': BUS_405,
    'exif-3.jpg': BUS_405,
    'exif-6.jpg': BUS_405,
    'exif-8.jpg': BUS_405,
    'gray.jpg': ZIDANE_640,
    'gray.png': BUS_405,
    'header-only.jpg': /corrupt: the JPEG ends inside its header \(12 bytes\)/,
    'interlaced.png': BUS_405,
    'lossless-alpha.webp': BUS_405,
    'lossy.webp': ZIDANE_640,
    'odd-dims-641x427.jpg': [641, 427, 4, 1],
    'palette.png': BUS_405,
    'plain.bmp': /unsupported: this is a BMP image; JPEG, PNG and WebP are supported/,
    'plain.tiff': /unsupported: this is a TIFF image/,
    'progressive.jpg': ZIDANE_640,
    'rgb16.png': BUS_405,
    'text.jpg': /unsupported: this is text/,
    'truncated.jpg': /corrupt: the JPEG ends early, near row \d+ of 1080/,
    'truncated.png': /corrupt: the PNG ends early, at row \d+ of 540/,
    'wide-2000x8.jpg': [2000, 8, 0, 0],
    'yuv422.jpg': ZIDANE_640,
    'yuv444.jpg': ZIDANE_640,
  };
  let answer;
  let bySource;

  before(async () => {
    const files = readdirSync(picture('odd'))
      .sort()
      .map((name) => picture(`odd/${name}`));
    answer = await detectJson(['--conf', '0.5', ...files]);
    bySource = Object.fromEntries(answer.results.map((r) => [basename(r.source), r]));
  });

  it('has an outcome for each file', () => {
    assert.deepEqual(Object.keys(bySource), Object.keys(EXPECTED));
    assert.equal(answer.code, 1);
  });

  for (const [name, expected] of Object.entries(EXPECTED)) {
    it(name, () => {
      const { image, detections, error } = bySource[name];
      if (expected instanceof RegExp) {
        assert.match(`${error?.code}: ${error?.message}`, expected);
        assert.ok(
          answer.stderr.includes(`nexus detect: ${picture(`odd/${name}`)}: ${error.message}\n`),
        );
      } else {
        const { person = 0, bus = 0 } = counts(detections);
        assert.deepEqual([image.width, image.height, person, bus], expected);
      }
    });
  }

  it('turns EXIF orientations upright: the same boxes, but for what recompression moves', () => {
    const boxes = (name) =>
      bySource[name].detections.map((d) => Object.values(d.box)).sort((a, b) => a[0] - b[0]);
    for (const name of ['exif-3.jpg', 'exif-6.jpg', 'exif-8.jpg']) {
      for (const [i, box] of boxes(name).entries()) {
        const reference = boxes('exif-1.jpg')[i];
        assert.ok(
          box.every((value, k) => Math.abs(value - reference[k]) < 4),
          `${name}: ${box} for ${reference}`,
        );
      }
    }
  });
});

describe('models', { skip }, () => {
  const model = (name) => sharedPath(`models/${name}`);
  const FIND = {
    yolov8s: { person: 4, bus: 1 },
    'yolov8n-dynamic': { person: 3, bus: 1, 'stop sign': 1 }, // at 480x640, not 640x640
    'yolov8n-int8-qdq': { person: 4, bus: 1 },
    'yolov10n-int8-dynamic': { person: 4, bus: 1 },
    yolox_nano: { class_0: 4, class_5: 1 }, // the file has no names
  };
  for (const [name, expected] of Object.entries(FIND)) {
    it(`${name} finds the bus and the persons`, async () => {
      const { code, stderr, results } = await detectJson([BUS, '--model', model(`${name}.onnx`)]);
      assert.equal(code, 0, stderr);
      assert.equal(results[0].model, name);
      assert.deepEqual(counts(results[0].detections), expected);
    });
  }

  const refused = {
    'broken/declared-320-graph-640.onnx':
      /declares an input of 320x320 pixels.*its graph fails on it/,
    'broken/empty.onnx': /empty\.onnx is empty \(0 bytes\)/,
    'broken/not-a-detector.onnx':
      /is not a detector that Nexus knows: it has 2 inputs: detection float32\[1,\?,\?\]/,
    'broken/text.onnx': /is not an ONNX model: it is text that starts with/,
    'broken/truncated.onnx': /is cut short: .* the file ends after 1000000/,
    'mobile_sam_encoder.onnx': /is not a detector that Nexus knows: it puts out/,
    'mobile_sam_decoder.onnx': /is not a detector that Nexus knows: it has 6 inputs/,
    'none.onnx': /cannot open .*none\.onnx: No such file/,
    '.': /is a folder, not a file/,
  };
  for (const [name, message] of Object.entries(refused)) {
    it(`${name} is refused with its own reason`, async () => {
      assertRefused(await nexus(['detect', BUS, '--model', model(name)]), 3, message);
    });
  }

  it('every broken file has a test', () => {
    const tested = Object.keys(refused)
      .filter((n) => n.startsWith('broken/'))
      .map((n) => basename(n));
    assert.deepEqual(tested, readdirSync(model('broken')).sort());
  });

  it('a name that is not there: says where it looked and what is there', async (t) => {
    const folder = scratch(t);
    mkdirSync(join(folder, 'models'));
    writeFileSync(join(folder, 'models', 'mine.onnx'), '');
    const result = await nexus(['detect', BUS, '--model', 'yours', '--data-dir', folder]);
    assertRefused(result, 3, /no model 'yours'; there: mine \(in .*\/models\)/);
  });
});

describe('detect: the other end of the output', { skip }, () => {
  const MANY = sharedPath('coco/images'); // 128 pictures: many seconds

  it('a full disk is an error', { skip: skipWithoutFull }, async () => {
    const full = openSync('/dev/full', 'w');
    for (const format of ['text', 'json', 'csv']) {
      const { code, stderr } = await nexus(['detect', BUS, '-f', format], { stdout: full });
      assert.equal(stderr, 'nexus detect: cannot write the output: No space left on device\n');
      assert.equal(code, 3);
    }
    closeSync(full);
    const file = await nexus(['detect', BUS, '-f', 'csv', '-o', '/dev/full']);
    assertRefused(file, 3, /cannot write \/dev\/full: No space left on device/);
  });

  it('a reader that goes away ends it soon, without a word', async (t) => {
    const out = scratch(t);
    const line = `"$NEXUS" detect '${MANY}' --annotate '${out}' | head -1; exit \${PIPESTATUS[0]}`;
    const { code, stdout, stderr } = await bash(line);
    assert.equal(stderr, '');
    assert.equal(stdout.split('\n').length, 2);
    assert.equal(code, 141);
    const worked = readdirSync(out).length;
    assert.ok(worked > 0 && worked < 64, `${worked} of 128 pictures were worked on`);
  });

  for (const signal of ['SIGINT', 'SIGTERM']) {
    it(`${signal} in the middle closes the JSON`, async () => {
      const { child, ended } = start(['detect', MANY, '--format', 'json']);
      child.stdout.once('data', () => child.kill(signal));
      const { code, stdout, stderr } = await ended;
      assert.equal(code, 130, stderr);
      const results = JSON.parse(stdout);
      const files = readdirSync(MANY).sort();
      assert.ok(results.length > 0 && results.length < files.length);
      assert.deepEqual(
        results.map((r) => basename(r.source)),
        files.slice(0, results.length),
      );
      assert.match(
        stderr,
        new RegExp(`interrupted after ${results.length} of ${files.length} pictures`),
      );
    });
  }

  it('SIGINT while it waits for standard input', async () => {
    const { child, ended } = start(['detect', '-'], { stdin: 'pipe' });
    // more than a pipe holds: when all of it is taken, nexus reads and waits for the end
    await new Promise((resolve) => child.stdin.write(readFileSync(BUS), resolve));
    child.kill('SIGINT');
    assert.equal((await ended).signal, 'SIGINT');
  });
});

describe('progress bar', { skip: skip || skipWithout('script') }, () => {
  const files = [BUS, ZIDANE, picture('people1-1200x800.jpg'), picture('traffic-1080p-00.jpg')];
  const onTerminal = (more) =>
    bash(`script -qec "'$NEXUS' detect ${files.map((f) => `'${f}'`).join(' ')} ${more}" /dev/null`);
  const BAR = /\r\[[#.]{30}\] \d\/4/;

  it('appears on a terminal and is wiped before each line', async () => {
    const { code, stdout } = await onTerminal('');
    assert.equal(code, 0, stdout);
    assert.match(stdout, BAR);
    assert.match(stdout, /\] [1-4]\/4 {2}[\d.]+\/s {2}\d+ s left/);
    // what is seen of a line is what stands behind the last return to its start
    const seen = stdout.split('\r\n').map((line) => line.split('\r').at(-1).replace('\x1b[K', ''));
    for (const file of files) {
      assert.ok(
        seen.some((line) => line.startsWith(`${file}  `)),
        `${file} in ${JSON.stringify(seen)}`,
      );
    }
    assert.ok(!seen.some((line) => line.includes('[')), JSON.stringify(seen));
  });

  it('stands beside output that goes to a file', async (t) => {
    const file = join(scratch(t), 'out.json');
    const { stdout } = await onTerminal(`-f json -o '${file}'`);
    assert.match(stdout, BAR);
    assert.match(stdout, /\r\x1b\[K4 pictures, 0 failed/);
    assert.equal(JSON.parse(readFileSync(file, 'utf8')).length, 4);
  });

  it('does not appear in a pipe', async () => {
    const { stdout, stderr } = await nexus(['detect', ...files]);
    assert.doesNotMatch(stdout + stderr, /[\r\x1b]/);
  });
});
