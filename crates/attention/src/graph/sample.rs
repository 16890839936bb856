//! Subgraphs around some nodes, for training and inference in batches: a random choice of each node's incoming edges,
//! hop by hop, like `torch_geometric.loader.NeighborLoader`.

use std::ops::Range;

use super::{Graph, no_node};
use crate::error::{Code, Error, Result};
use crate::math::random::philox4x32;
use crate::ranges;
use crate::tensor::try_zeroed;

/// The options of [`sample_neighbors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, rename_all = "camelCase", deny_unknown_fields)
)]
pub struct SampleOptions {
    /// Draws edges with replacement, so that an edge may occur more than once; false by default.
    pub replace: bool,
    /// The draws depend on it; less than 2⁵³.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::options::seeds::one"))]
    pub seed: u64,
}

/// A subgraph: its nodes and edges by their numbers in the whole graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// The nodes given, and then those found, in the order in which they were found.
    pub nodes: Vec<i32>,
    /// The source of each edge, as a place among `nodes`.
    pub source: Vec<i32>,
    /// The target of each edge, as a place among `nodes`.
    pub target: Vec<i32>,
    /// The number of each edge among those of the graph.
    pub edges: Vec<i32>,
}

/// Draws up to `fanouts[h]` incoming edges of each node that hop `h` begins with, where −1 means all of them. The first
/// hop begins with `nodes`, every other one with the nodes that the one before found. Edges follow hop by hop, those of
/// a node in the order given. The draws depend on the seed, on `call` and on the arguments alone.
///
/// # Errors
/// `OPTION` for a graph with two node sets, for a fanout that is neither −1 nor at least 1, for a node that is not
/// there or is given twice, and for a seed of 2⁵³ or more; `MEMORY`.
pub fn sample_neighbors(
    graph: &Graph,
    nodes: &[i32],
    fanouts: &[i32],
    options: SampleOptions,
    call: u32,
) -> Result<Sample> {
    if graph.has_two_sets() {
        return Err(Error::option("graph", "a graph with one node set", "two node sets"));
    }
    ranges::seed("seed", options.seed)?;
    if fanouts.is_empty() {
        return Err(Error::option("fanouts", "at least one number of edges", "none"));
    }
    if let Some(hop) = fanouts.iter().position(|&fanout| fanout < -1 || fanout == 0) {
        let expected = "an integer of at least 1, or -1 for all edges";
        return Err(Error::option(format_args!("fanouts[{hop}]"), expected, fanouts[hop]));
    }
    let mut numbers = Numbers::default();
    for (index, &node) in nodes.iter().enumerate() {
        if node as u32 as usize >= graph.num_nodes() {
            return Err(no_node("nodes", index, graph.num_nodes(), node));
        }
        if numbers.of(node)? != index {
            return Err(Error::option(format_args!("nodes[{index}]"), "a node that is not given twice", node));
        }
    }
    let mut draws = Draws::new(options.seed, call);
    let mut sample = Sample::default();
    let (mut chosen, mut marks) = (Vec::new(), Vec::new());
    let mut start = 0;
    for &fanout in fanouts {
        let end = numbers.nodes.len();
        for place in start..end {
            let row = graph.incoming(numbers.nodes[place] as usize);
            chosen.clear();
            match usize::try_from(fanout) {
                Ok(fanout) if options.replace && !row.is_empty() => draws.with_replacement(row, fanout, &mut chosen)?,
                Ok(fanout) if fanout < row.len() => draws.distinct(row, fanout, &mut chosen, &mut marks)?,
                _ => {
                    reserve(&mut chosen, row.len())?;
                    chosen.extend(row.map(|edge| edge as u32));
                }
            }
            for list in [&mut sample.source, &mut sample.target, &mut sample.edges] {
                reserve(list, chosen.len())?;
            }
            for &edge in &chosen {
                let edge = edge as usize;
                sample.source.push(numbers.of(graph.sources[edge] as i32)? as i32);
                sample.target.push(place as i32);
                sample.edges.push(graph.edges[edge] as i32);
            }
        }
        start = end;
    }
    sample.nodes = numbers.nodes;
    Ok(sample)
}

impl Graph {
    /// The places of a node's incoming edges.
    fn incoming(&self, node: usize) -> Range<usize> {
        let rows = &self.rows[..self.rows.len() - 1];
        let row = rows.partition_point(|[target, _]| (*target as usize) < node);
        match rows.get(row) {
            Some(&[target, start]) if target as usize == node => start as usize..self.rows[row + 1][1] as usize,
            _ => 0..0,
        }
    }
}

/// Makes room for more elements.
fn reserve<T>(list: &mut Vec<T>, more: usize) -> Result<()> {
    list.try_reserve(more).map_err(|_| {
        let actual = format_args!("{} elements", list.len() + more);
        Error::new(Code::Memory, "nodes", "a sample that fits into memory", actual)
    })
}

/// The nodes of a sample, each with its place: a table with open addresses.
#[derive(Default)]
struct Numbers {
    nodes: Vec<i32>,
    /// A place plus one, or 0 for a slot that is free; a power of two, of which at most half are taken.
    slots: Vec<u32>,
}

impl Numbers {
    /// Returns the place of a node, which is added if it is not there yet.
    fn of(&mut self, node: i32) -> Result<usize> {
        if 2 * self.nodes.len() >= self.slots.len() {
            self.grow()?;
        }
        let slot = self.slot(node);
        if self.slots[slot] == 0 {
            reserve(&mut self.nodes, 1)?;
            self.nodes.push(node);
            self.slots[slot] = self.nodes.len() as u32;
        }
        Ok(self.slots[slot] as usize - 1)
    }

    /// Returns the slot of a node, or the free one where it belongs.
    fn slot(&self, node: i32) -> usize {
        let mask = self.slots.len() - 1;
        // Knuth's multiplicative hash: the upper bits are the mixed ones.
        let mut slot = ((node as u32).wrapping_mul(0x9e37_79b1).rotate_left(16)) as usize & mask;
        while self.slots[slot] != 0 && self.nodes[self.slots[slot] as usize - 1] != node {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) -> Result<()> {
        self.slots = try_zeroed("nodes", (4 * self.nodes.len()).next_power_of_two().max(16))?;
        for place in 0..self.nodes.len() {
            let slot = self.slot(self.nodes[place]);
            self.slots[slot] = place as u32 + 1;
        }
        Ok(())
    }
}

/// Random numbers of one call.
struct Draws {
    key: [u32; 2],
    call: u32,
    next: u64,
}

impl Draws {
    fn new(seed: u64, call: u32) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], call, next: 0 }
    }

    /// Returns an integer below `bound`, each as likely as any other to within 2⁻²².
    fn below(&mut self, bound: usize) -> usize {
        let [high, low, ..] = philox4x32([self.next as u32, (self.next >> 32) as u32, self.call, 0], self.key);
        self.next += 1;
        let unit = (u64::from(high) << 21 | u64::from(low) >> 11) as f64 / (1u64 << 53) as f64;
        (unit * bound as f64) as usize
    }

    /// Draws `count` edges of a row.
    fn with_replacement(&mut self, row: Range<usize>, count: usize, chosen: &mut Vec<u32>) -> Result<()> {
        reserve(chosen, count)?;
        for _ in 0..count {
            chosen.push((row.start + self.below(row.len())) as u32);
        }
        chosen.sort_unstable();
        Ok(())
    }

    /// Draws `count` different edges of a row that has more: Floyd's method (Bentley & Floyd 1987). `marks` holds zeros
    /// before and after.
    fn distinct(
        &mut self,
        row: Range<usize>,
        count: usize,
        chosen: &mut Vec<u32>,
        marks: &mut Vec<bool>,
    ) -> Result<()> {
        reserve(chosen, count)?;
        if marks.len() < row.len() {
            *marks = try_zeroed("working memory", row.len())?;
        }
        for last in row.len() - count..row.len() {
            let drawn = self.below(last + 1);
            let edge = if marks[drawn] { last } else { drawn };
            marks[edge] = true;
            chosen.push((row.start + edge) as u32);
        }
        chosen.iter().for_each(|&edge| marks[edge as usize - row.start] = false);
        chosen.sort_unstable();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hub with 40 sources, of which each has two sources of its own.
    fn tree() -> Graph {
        let (mut source, mut target): (Vec<i32>, Vec<i32>) = ((1..=40).collect(), vec![0; 40]);
        for node in 1..=40 {
            source.extend([40 + node, 80 + node]);
            target.extend([node; 2]);
        }
        Graph::from_edges(121, &source, &target).unwrap()
    }

    fn sample(nodes: &[i32], fanouts: &[i32], replace: bool, seed: u64, call: u32) -> Sample {
        sample_neighbors(&tree(), nodes, fanouts, SampleOptions { replace, seed }, call).unwrap()
    }

    #[test]
    fn a_sample_has_the_edges_asked_for_hop_by_hop() {
        let found = sample(&[0, 7], &[5, -1], false, 3, 0);
        assert_eq!(found.nodes[..2], [0, 7]);
        // Five sources of the hub and both of node 7; then both sources of each source of the hub.
        let found_seven = found.edges[..5].contains(&6);
        let further = if found_seven { 4 } else { 5 };
        assert_eq!(found.edges.len(), 5 + 2 + 2 * further);
        let mut distinct = found.edges.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), found.edges.len());
        for (index, &edge) in found.edges.iter().enumerate() {
            let edge = edge as usize;
            let (from, to) = match edge.checked_sub(40) {
                None => (edge + 1, 0),
                Some(rest) => (41 + rest / 2 + 40 * (rest % 2), rest / 2 + 1),
            };
            assert_eq!(found.nodes[found.source[index] as usize] as usize, from);
            assert_eq!(found.nodes[found.target[index] as usize] as usize, to);
        }
    }

    #[test]
    fn draws_depend_on_seed_and_call_and_are_uniform() {
        assert_eq!(sample(&[0], &[6, 1], false, 3, 2), sample(&[0], &[6, 1], false, 3, 2));
        assert_ne!(sample(&[0], &[6, 1], false, 3, 2), sample(&[0], &[6, 1], false, 3, 3));
        assert_ne!(sample(&[0], &[6, 1], false, 3, 2), sample(&[0], &[6, 1], false, 4, 2));
        for replace in [false, true] {
            let mut counts = [0; 40];
            for call in 0..2000 {
                let found = sample(&[0], &[10], replace, 5, call);
                assert_eq!(found.edges.len(), 10);
                found.edges.iter().for_each(|&edge| counts[edge as usize] += 1);
            }
            // 500 expected, with a deviation of 22 at most.
            assert!(counts.iter().all(|count| (390..610).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn replacement_draws_even_from_short_rows_and_invalid_arguments_are_refused() {
        let found = sample(&[3, 90], &[5], true, 1, 0);
        assert_eq!(found.target, [0; 5]);
        assert!(found.edges.iter().all(|&edge| edge == 44 || edge == 45));
        let graph = tree();
        let options = SampleOptions::default();
        let fault = |nodes: &[i32], fanouts: &[i32]| {
            sample_neighbors(&graph, nodes, fanouts, options, 0).unwrap_err().argument.clone()
        };
        assert_eq!(fault(&[0, 121], &[1]), "nodes[1]");
        assert_eq!(fault(&[4, 5, 4], &[1]), "nodes[2]");
        assert_eq!(fault(&[0], &[]), "fanouts");
        assert_eq!(fault(&[0], &[1, 0]), "fanouts[1]");
        assert_eq!(fault(&[0], &[-2]), "fanouts[0]");
        let two_sets = Graph::between(2, 3, &[1], &[2]).unwrap();
        assert_eq!(sample_neighbors(&two_sets, &[0], &[1], options, 0).unwrap_err().argument, "graph");
    }
}
