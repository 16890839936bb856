// NestJS apps, laid out and configured as `nest new` writes them for Jest: a service that uses the package, its unit
// test, its end-to-end test, and the compiled server.

import { join } from 'node:path'
import { Failure } from './project.mjs'
import { toolProgram } from '../../tools/consumers.mjs'

/** @typedef {import('./project.mjs').Consumer} Consumer */

const app = {
  'src/app.service.ts': `import { Injectable } from '@nestjs/common';
import { SelfAttention, backend, createTensor } from '@ruvector/attention';

@Injectable()
export class AppService {
  private readonly attention = new SelfAttention({ numHeads: 2, headDim: 2, seed: 1 });

  async attend() {
    const x = createTensor(Float32Array.from({ length: 12 }, (_, index) => index / 12), [1, 3, 4]);
    const { output, weights } = await this.attention.forwardAsync(x, { weights: true });
    return { kind: backend().kind, shape: [...output.shape], weights: Array.from(weights?.data ?? []) };
  }
}
`,
  'src/app.controller.ts': `import { Controller, Get } from '@nestjs/common';
import { AppService } from './app.service';

@Controller()
export class AppController {
  constructor(private readonly appService: AppService) {}

  @Get()
  attend() {
    return this.appService.attend();
  }
}
`,
  'src/app.module.ts': `import { Module } from '@nestjs/common';
import { AppController } from './app.controller';
import { AppService } from './app.service';

@Module({ controllers: [AppController], providers: [AppService] })
export class AppModule {}
`,
  'src/main.ts': `import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module';

async function bootstrap() {
  const app = await NestFactory.create(AppModule, { logger: false });
  await app.listen(0, '127.0.0.1');
  console.log(await app.getUrl());
}
void bootstrap();
`,
  'src/app.controller.spec.ts': `import { Test } from '@nestjs/testing';
import { AttentionError, createTensor } from '@ruvector/attention';
import { AppController } from './app.controller';
import { AppService } from './app.service';

test('the controller attends', async () => {
  const module = await Test.createTestingModule({ controllers: [AppController], providers: [AppService] }).compile();
  const { kind, shape, weights } = await module.get(AppController).attend();
  expect(kind).toBe('native');
  expect(shape).toEqual([1, 3, 4]);
  expect(weights[0] + weights[1] + weights[2]).toBeCloseTo(1, 5);
  expect(() => createTensor([1], [2])).toThrow(AttentionError);
});
`,
  'test/app.e2e-spec.ts': `import { Test } from '@nestjs/testing';
import { AppModule } from './../src/app.module';

test('/ (GET)', async () => {
  const module = await Test.createTestingModule({ imports: [AppModule] }).compile();
  const app = module.createNestApplication();
  await app.listen(0, '127.0.0.1');
  const response = await fetch(await app.getUrl());
  const { kind, shape } = (await response.json()) as { kind: string; shape: number[] };
  expect([response.status, kind, shape]).toEqual([200, 'native', [1, 3, 4]]);
  await app.close();
});
`
}

const tsconfig = {
  compilerOptions: {
    module: 'nodenext',
    moduleResolution: 'nodenext',
    resolvePackageJsonExports: true,
    esModuleInterop: true,
    isolatedModules: true,
    removeComments: true,
    emitDecoratorMetadata: true,
    experimentalDecorators: true,
    target: 'ES2023',
    types: ['node', 'jest'],
    rootDir: '.',
    outDir: './dist',
    skipLibCheck: true,
    strict: true
  },
  exclude: ['node_modules', 'test', 'dist', '**/*spec.ts']
}

const jestConfig = {
  moduleFileExtensions: ['js', 'json', 'ts'],
  transform: { '^.+\\.(t|j)s$': 'ts-jest' },
  testEnvironment: 'node'
}

/**
 * @param {'nest11' | 'nest12'} tools
 * @param {{ flags?: readonly string[], node?: string }} [how]  Node's flags in the app's `npm test`, and Node itself if
 *   the tools bring it
 * @returns {Consumer}
 */
const nest = (tools, { flags = [], node } = {}) => ({
  name: `NestJS ${tools.slice('nest'.length)}: Jest and the server`,
  tools,
  native: true,
  async run(project) {
    project.write({
      ...app,
      'tsconfig.json': JSON.stringify(tsconfig),
      'jest.config.json': JSON.stringify({ ...jestConfig, rootDir: 'src', testRegex: '.*\\.spec\\.ts$' }),
      'test/jest-e2e.json': JSON.stringify({ ...jestConfig, rootDir: '.', testRegex: '.e2e-spec.ts$' })
    })
    project.change('package.json', (manifest) => ({ ...manifest, type: 'commonjs' }))
    const program = node ? join(project.folder, node) : process.execPath
    for (const config of ['jest.config.json', 'test/jest-e2e.json']) {
      const args = [...flags, toolProgram(tools, 'jest'), '--config', config]
      const output = await project.run(program, args, { withErrors: true })
      if (!/^Tests: +1 passed, 1 total$/m.test(output)) throw new Failure(`the test did not pass: ${output}`)
    }
    await project.tool(['typescript', 'tsc'], [])
    const { match, stop } = await project.serve(program, ['dist/src/main.js'], { ready: /http:\S+/ })
    try {
      const { kind } = await (await fetch(match[0])).json()
      if (kind !== 'native') throw new Failure(`native was expected: ${kind}`)
    } finally {
      await stop()
    }
    return {}
  }
})

/** @type {Consumer[]} */
export const nestApps = [
  nest('nest11'),
  // NestJS 12 consists of ES modules, which Jest can `require` since Node 24.9.
  nest('nest12', { flags: ['--experimental-vm-modules'], node: 'node_modules/node/bin/node' })
]
