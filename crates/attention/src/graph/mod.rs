//! Graphs as compressed rows by target, and what passes messages along their edges, from source to target, as PyTorch
//! Geometric does: [`aggregate::propagate`], [`softmax::edge_softmax`] and the layers of [`layer`].
//!
//! Each makes one pass over the target rows, in items with about the same number of edges, whatever the number of
//! threads. None stores a message for each edge.

pub mod aggregate;
pub(crate) mod attention;
pub mod layer;
pub mod options;
pub mod parameters;
pub mod sample;
pub mod softmax;

use std::ops::Range;
use std::sync::OnceLock;

use crate::context;
use crate::error::{Error, Result};
use crate::tensor::{check_output, try_zeroed};

/// Edges and nodes of one work item: a fraction of a millisecond, and enough items for every thread.
const ITEM: usize = 2048;

/// Edges `source → target` as compressed rows by target; duplicate edges and self-loops stay as they are given.
///
/// Memory grows with the edges alone: nodes without incoming edges have no row.
#[derive(Debug, Default)]
pub struct Graph {
    /// How many nodes edges can come from and lead to: the same nodes unless there are two sets.
    ends: [usize; 2],
    has_two_sets: bool,
    /// How many edges were given.
    given: usize,
    /// The target of each row and its first edge, ascending; at the end how many nodes and edges there are.
    rows: Vec<[u32; 2]>,
    /// The source of each edge, row after row; inside a row in the order given.
    pub(crate) sources: Vec<u32>,
    /// The number of each of these edges: its place among those given, or, for a self-loop that was added, their number
    /// plus its node.
    pub(crate) edges: Vec<u32>,
    /// The self-loops among the edges given, each with its node.
    loops: Vec<[u32; 2]>,
    /// The graph in which each node has one self-loop, once it is asked for.
    closed: OnceLock<Box<Self>>,
    /// The graph with its edges reversed, once it is asked for.
    #[cfg(feature = "training")]
    reversed: OnceLock<Box<Self>>,
}

/// The nodes of an item, each with the range of its incoming edges.
#[derive(Debug, Clone)]
pub(crate) struct Rows<'a> {
    rows: &'a [[u32; 2]],
    nodes: Range<usize>,
    skip_empty: bool,
}

impl Iterator for Rows<'_> {
    type Item = (usize, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let [target, start] = self.rows[0].map(|value| value as usize);
        if self.skip_empty {
            self.nodes.start = target;
        }
        let node = self.nodes.next()?;
        if target != node {
            return Some((node, 0..0));
        }
        self.rows = &self.rows[1..];
        Some((node, start..self.rows[0][1] as usize))
    }
}

impl Graph {
    /// The most nodes: what 32-bit integers count.
    pub const MOST_NODES: usize = i32::MAX as usize;

    /// The graph of edges `source[k] → target[k]` between `nodes` nodes.
    ///
    /// # Errors
    /// `SHAPE` if the lengths differ, `OPTION` for an edge that names no node, by its index; `MEMORY`.
    pub fn from_edges(nodes: usize, source: &[i32], target: &[i32]) -> Result<Self> {
        Self::of([nodes; 2], false, source, target)
    }

    /// The graph of edges `source[k] → target[k]` from one set of nodes to another.
    ///
    /// # Errors
    /// The same as [`Self::from_edges`].
    pub fn between(num_sources: usize, num_targets: usize, source: &[i32], target: &[i32]) -> Result<Self> {
        Self::of([num_sources, num_targets], true, source, target)
    }

    #[inline(never)]
    fn of(ends: [usize; 2], has_two_sets: bool, source: &[i32], target: &[i32]) -> Result<Self> {
        if source.len() != target.len() {
            let expected = format_args!("a length of {}, as source has", source.len());
            return Err(Error::shape("target", expected, target.len()));
        }
        let (given, [sources, nodes]) = (source.len(), ends);
        for edge in 0..given {
            for (side, nodes, node) in [("source", sources, source[edge]), ("target", nodes, target[edge])] {
                // Negative ones become the largest.
                if node as u32 as usize >= nodes {
                    return Err(no_node(side, edge, nodes, node));
                }
            }
        }
        let edges = sorted_by(target, nodes)?;
        let sources = try_zeroed("graph", given)?;
        let mut graph = Self { ends, has_two_sets, given, sources, ..Self::default() };
        let (mut rows, mut loops, mut last) = (0, 0, -1);
        for (place, &edge) in graph.sources.iter_mut().zip(&edges) {
            let (from, to) = (source[edge as usize], target[edge as usize]);
            *place = from as u32;
            rows += usize::from(to != last);
            loops += usize::from(to == from);
            last = to;
        }
        graph.rows = try_zeroed("graph", rows + 1)?;
        graph.loops = try_zeroed("graph", loops)?;
        (rows, loops, last) = (0, 0, -1);
        for (place, &edge) in edges.iter().enumerate() {
            let to = target[edge as usize];
            if to != last {
                graph.rows[rows] = [to as u32, place as u32];
                rows += 1;
            }
            last = to;
        }
        graph.rows[rows] = [nodes as u32, given as u32];
        for (edge, (&from, &to)) in source.iter().zip(target).enumerate() {
            if from == to {
                graph.loops[loops] = [edge as u32, to as u32];
                loops += 1;
            }
        }
        graph.edges = edges;
        Ok(graph)
    }

    /// Returns the cost of a pass along the edges: `an_edge` operations for each edge, and as many for each node.
    pub(crate) fn operations(&self, an_edge: usize) -> u64 {
        context::operations([self.edges.len() + self.num_targets(), an_edge])
    }

    /// The bytes that the graph occupies.
    pub fn bytes(&self) -> usize {
        let own = size_of_val(&*self.rows) + size_of_val(&*self.sources) + size_of_val(&*self.edges);
        let own = own + size_of_val(&*self.loops) + self.closed.get().map_or(0, |closed| closed.bytes());
        #[cfg(feature = "training")]
        let own = own + self.reversed.get().map_or(0, |reversed| reversed.bytes());
        own
    }

    /// How many nodes there are, in both sets if there are two.
    pub fn num_nodes(&self) -> usize {
        let [sources, targets] = self.ends;
        if self.has_two_sets { sources + targets } else { targets }
    }

    /// How many nodes edges can come from.
    pub fn num_sources(&self) -> usize {
        self.ends[0]
    }

    /// How many nodes edges can lead to.
    pub fn num_targets(&self) -> usize {
        self.ends[1]
    }

    /// Returns true if edges lead from one set of nodes to another.
    pub fn has_two_sets(&self) -> bool {
        self.has_two_sets
    }

    /// How many nodes have a number that is a source's and a target's: the self-loops that layers add.
    pub fn num_common(&self) -> usize {
        self.ends[0].min(self.ends[1])
    }

    /// How many edges were given.
    pub fn num_edges(&self) -> usize {
        self.given
    }

    /// How many of them lead from a node to itself, or in two sets to the node with the same number.
    pub fn num_self_loops(&self) -> usize {
        self.loops.len()
    }

    /// Writes the number of incoming edges of each target.
    ///
    /// # Errors
    /// `SHAPE` if `output` holds not one number for each target.
    pub fn in_degrees(&self, output: &mut [i32]) -> Result<()> {
        check_output("output", output, self.num_targets())?;
        output.fill(0);
        for pair in self.rows.windows(2) {
            output[pair[0][0] as usize] = (pair[1][1] - pair[0][1]) as i32;
        }
        Ok(())
    }

    /// The graph without the self-loops given, and with one as the last incoming edge of each node that is both a
    /// source and a target, or in two sets has the number of one.
    ///
    /// # Errors
    /// `MEMORY`.
    #[inline(never)]
    pub(crate) fn with_self_loops(&self) -> Result<&Self> {
        if let Some(closed) = self.closed.get() {
            return Ok(closed);
        }
        let [targets, common] = [self.num_targets(), self.num_common()];
        let edges = self.given - self.loops.len() + common;
        let mut closed = Self {
            ends: self.ends,
            has_two_sets: self.has_two_sets,
            given: self.given,
            rows: try_zeroed("graph", targets + 1)?,
            sources: try_zeroed("graph", edges)?,
            edges: try_zeroed("graph", edges)?,
            ..Self::default()
        };
        let (mut row, mut place, mut end, mut closed_rows) = (0, 0, 0, 0);
        for node in 0..targets {
            // Overwritten by the next row if the node has no edge.
            closed.rows[closed_rows] = [node as u32, end as u32];
            if self.rows[row][0] as usize == node {
                row += 1;
            }
            while place < self.rows[row][1] as usize {
                if self.sources[place] as usize != node {
                    (closed.sources[end], closed.edges[end]) = (self.sources[place], self.edges[place]);
                    end += 1;
                }
                place += 1;
            }
            if node < common {
                (closed.sources[end], closed.edges[end]) = (node as u32, (self.given + node) as u32);
                end += 1;
            }
            closed_rows += usize::from(closed.rows[closed_rows][1] < end as u32);
        }
        closed.rows[closed_rows] = [targets as u32, edges as u32];
        closed.rows.truncate(closed_rows + 1);
        Ok(self.closed.get_or_init(|| Box::new(closed)))
    }

    /// The graph with its edges reversed: the edges that leave each source, in the order of their targets. They keep
    /// their numbers.
    ///
    /// # Errors
    /// `MEMORY`.
    #[cfg(feature = "training")]
    pub(crate) fn reversed(&self) -> Result<&Self> {
        if let Some(reversed) = self.reversed.get() {
            return Ok(reversed);
        }
        let mut ends: [Vec<i32>; 2] = [try_zeroed("graph", self.edges.len())?, try_zeroed("graph", self.edges.len())?];
        for pair in self.rows.windows(2) {
            let [[target, start], [_, end]] = [pair[0], pair[1]];
            ends[1][start as usize..end as usize].fill(target as i32);
        }
        ends[0].iter_mut().zip(&self.sources).for_each(|(end, &source)| *end = source as i32);
        let [sources, targets] = self.ends;
        let mut reversed = Self::of([targets, sources], self.has_two_sets, &ends[1], &ends[0])?;
        reversed.edges.iter_mut().for_each(|place| *place = self.edges[*place as usize]);
        Ok(self.reversed.get_or_init(|| Box::new(reversed)))
    }

    /// How many work items there are.
    pub(crate) fn items(&self) -> usize {
        (self.num_targets() + self.edges.len()).div_ceil(ITEM)
    }

    /// The nodes of a work item; every node belongs to one. Those without an edge can be left out.
    pub(crate) fn item(&self, item: usize, skip_empty: bool) -> Rows<'_> {
        let (first, row) = self.boundary(item * ITEM);
        let (end, last) = self.boundary((item + 1) * ITEM);
        // One row more, whose beginning is the last one's end; its target lies beyond the nodes of the item.
        Rows { rows: &self.rows[row..=last], nodes: first..end, skip_empty }
    }

    /// Returns the first node, and the first row at or after it, such that `cost` nodes and edges come before them.
    fn boundary(&self, cost: usize) -> (usize, usize) {
        let rows = &self.rows[..self.rows.len() - 1];
        let row = rows.partition_point(|[target, start]| (*target as usize + *start as usize) < cost);
        let earliest = row.checked_sub(1).map_or(0, |last| rows[last][0] as usize + 1);
        (cost.saturating_sub(self.rows[row][1] as usize).clamp(earliest, self.num_targets()), row)
    }
}

#[cold]
fn no_node(side: &str, edge: usize, nodes: usize, node: i32) -> Error {
    let name = format_args!("{side}[{edge}]");
    match nodes.checked_sub(1) {
        Some(last) => Error::option(name, format_args!("a node from 0 to {last}"), node),
        None => Error::option(name, "no edge, as there is no node", node),
    }
}

/// The numbers of the edges in the order of their targets, those of one target in the order given.
#[inline(never)]
fn sorted_by(target: &[i32], nodes: usize) -> Result<Vec<u32>> {
    // A radix sort, from the last digit on: its cost does not depend on how many nodes have no edge.
    const BITS: usize = 11;
    let mut edges: Vec<u32> = try_zeroed("graph", target.len())?;
    edges.iter_mut().enumerate().for_each(|(place, edge)| *edge = place as u32);
    let mut moved = try_zeroed("graph", target.len())?;
    let mut shift = 0;
    while nodes.saturating_sub(1) >> shift > 0 {
        let digit = |edge: u32| target[edge as usize] as usize >> shift & ((1 << BITS) - 1);
        let mut places = [0; 1 << BITS];
        edges.iter().for_each(|&edge| places[digit(edge)] += 1);
        let mut before = 0;
        for place in &mut places {
            before += std::mem::replace(place, before);
        }
        for &edge in &edges {
            let place: &mut usize = &mut places[digit(edge)];
            moved[*place] = edge;
            *place += 1;
        }
        std::mem::swap(&mut edges, &mut moved);
        shift += BITS;
    }
    Ok(edges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_the_edges_of_each_target_in_the_order_given() {
        let (source, target) = ([3, 0, 3, 1, 0, 4], [1, 4, 1, 1, 4, 4]);
        let graph = Graph::from_edges(6, &source, &target).unwrap();
        assert_eq!(graph.rows, [[1, 0], [4, 3], [6, 6]]);
        assert_eq!(graph.sources, [3, 3, 1, 0, 0, 4]);
        assert_eq!(graph.edges, [0, 2, 3, 1, 4, 5]);
        assert_eq!(graph.loops, [[3, 1], [5, 4]]);
        let mut degrees = [7; 6];
        graph.in_degrees(&mut degrees).unwrap();
        assert_eq!(degrees, [0, 3, 0, 0, 3, 0]);
        let rows: Vec<_> = graph.item(0, false).collect();
        assert_eq!(rows, [(0, 0..0), (1, 0..3), (2, 0..0), (3, 0..0), (4, 3..6), (5, 0..0)]);
        assert_eq!(graph.item(0, true).collect::<Vec<_>>(), [(1, 0..3), (4, 3..6)]);
    }

    #[test]
    fn one_self_loop_per_node_replaces_the_given_ones() {
        let graph = Graph::from_edges(3, &[2, 0, 2, 0], &[2, 2, 2, 0]).unwrap();
        let closed = graph.with_self_loops().unwrap();
        assert_eq!(closed.rows, [[0, 0], [1, 1], [2, 2], [3, 4]]);
        assert_eq!(closed.sources, [0, 1, 0, 2]);
        assert_eq!(closed.edges, [4, 5, 1, 6]);
        assert!(std::ptr::eq(graph.with_self_loops().unwrap(), closed));
    }

    #[cfg(feature = "training")]
    #[test]
    fn reversed_rows_hold_the_numbers_of_the_edges_of_each_source() {
        let graph = Graph::between(4, 3, &[3, 0, 3, 1], &[2, 2, 0, 1]).unwrap();
        let reversed = graph.reversed().unwrap();
        assert_eq!(reversed.ends, [3, 4]);
        assert_eq!(reversed.rows, [[0, 0], [1, 1], [3, 2], [4, 4]]);
        assert_eq!(reversed.sources, [2, 1, 0, 2]);
        assert_eq!(reversed.edges, [1, 3, 2, 0]);
        let closed = graph.with_self_loops().unwrap().reversed().unwrap();
        assert_eq!(closed.edges, [4, 1, 5, 6, 2, 0]);
    }

    #[test]
    fn items_cover_every_node_and_every_row_once() {
        for (nodes, edges, spread) in
            [(0, 0, 1), (1, 0, 1), (1, 9000, 1), (9000, 1, 1), (5000, 30_000, 7), (3, 12_000, 3), (100_000, 50, 999)]
        {
            let target: Vec<i32> = (0..edges).map(|edge| ((edge * edge * spread) % nodes.max(1)) as i32).collect();
            let graph = Graph::from_edges(nodes, &vec![0; edges], &target).unwrap();
            let rows: Vec<_> = (0..graph.items()).flat_map(|item| graph.item(item, false)).collect();
            assert!(rows.iter().map(|(node, _)| *node).eq(0..nodes), "{nodes} {edges}");
            assert_eq!(rows.iter().map(|(_, edges)| edges.len()).sum::<usize>(), edges);
            let full: Vec<_> = (0..graph.items()).flat_map(|item| graph.item(item, true)).collect();
            assert!(full.iter().eq(rows.iter().filter(|(_, edges)| !edges.is_empty())), "{nodes} {edges}");
        }
    }

    #[test]
    fn a_graph_of_nearly_two_to_the_31_nodes_costs_only_as_much_as_its_edges() {
        let nodes = Graph::MOST_NODES;
        let last = nodes as i32 - 1;
        let graph = Graph::from_edges(nodes, &[last, 0, 5], &[last, last, 1 << 22]).unwrap();
        assert_eq!(graph.rows, [[1 << 22, 0], [last as u32, 1], [nodes as u32, 3]]);
    }

    #[test]
    fn an_edge_without_a_node_is_reported_by_its_index() {
        for (nodes, source, target, argument, expected) in [
            (3, [0, 1, 3], [0, 1, 2], "source[2]", "a node from 0 to 2"),
            (3, [0, 1, 2], [0, -1, 2], "target[1]", "a node from 0 to 2"),
            (0, [0, 0, 0], [0, 0, 0], "source[0]", "no edge, as there is no node"),
        ] {
            let error = Graph::from_edges(nodes, &source, &target).unwrap_err();
            assert_eq!((error.argument.as_str(), error.expected.as_str()), (argument, expected));
        }
        assert_eq!(Graph::from_edges(3, &[0], &[0, 1]).unwrap_err().argument, "target");
    }
}
