/**
 * What the page is told, for editors and readers; not part of the page. `payload.py` makes it.
 *
 * @typedef {{name: string, block: string, size: number, channels: number, depth: number, params: number,
 *   macs: number, acts: number}} Stage
 * @typedef {{image_size: number, blocks: string, stages: Stage[], spec: Object<string, any>}} Arch
 * @typedef {{number: number, seed: ?number, score: ?number, train_seconds: ?number, steps: ?number,
 *   readings: [number, number][]}} Run
 * @typedef {{id: string, part: string, arch_id: string, label: string, state: string, reason: string,
 *   costs: Object<string, number>, scores: Object<string, [number, ?number, number]>, runs: Run[]}} Network
 * @typedef {{name: string, num_networks: number, num_left_out: number, front: string[], hypervolume: number,
 *   history: [number, number][]}} Series
 * @typedef {{cost: string, score: string, budget: ?number, reference: [number, number], series: Series[]}} View
 * @typedef {{title: string, columns: string[], rows: (string | number | null)[][]}} Table
 * @typedef {{sentence: string, shares: [string, number][]}} Importance
 * @typedef {{name: string, arguments: string, notes: string, networks: Network[], archs: Object<string, Arch>,
 *   views: View[], importance: ?Importance, map: ?Object<string, any>, curves: Object<string, any>[],
 *   fidelity: ?Object<string, any>, detectors: Table[], pictures: {title: string, uri: string}[], parts: Table,
 *   sessions: Table, machines: string[], seeds: string, config: string, data_arguments: string,
 *   num_classes: ?number}} Study
 * @typedef {{studies: Study[], landmarks: {name: string, costs: Object<string, number>}[],
 *   cost_labels: Object<string, string>, score_labels: Object<string, string>}} Payload
 *
 * A network as the page's own scripts hand it around: with its study and a key that is unique on the page.
 * @typedef {{key: string, study: Study, index: number, network: Network, arch: ?Arch}} Item
 */
