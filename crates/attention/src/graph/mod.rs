//! Graphs as compressed rows by target, and what passes messages along their edges, from source to target, as PyTorch
//! Geometric does: [`aggregate::propagate`], [`softmax::edge_softmax`] and the layers of [`layer`].
//!
//! Each works in one pass over the target rows, in items of about the same number of edges, whatever the number of threads;
//! none holds a message for each edge.

pub mod aggregate;
mod attention;
pub(crate) mod calls;
pub mod layer;
pub mod options;
mod parameters;
pub mod softmax;

use std::ops::Range;

use crate::error::{Error, Result};
use crate::tensor::{check_output, try_zeroed};

/// Edges and nodes of one work item: a fraction of a millisecond, and enough items for every thread.
const ITEM: usize = 2048;

/// Edges `source → target` as compressed rows by target; duplicate edges and self-loops stay as they are given.
///
/// Memory grows with the edges alone: nodes without incoming edges have no row.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    nodes: usize,
    /// The targets that have incoming edges, ascending.
    targets: Vec<u32>,
    /// Where the edges of each of them begin, and where those of the last end.
    starts: Vec<u32>,
    /// The source of each edge, row after row; inside a row in the order given.
    sources: Vec<u32>,
    /// The place that each of these edges had among those given.
    edges: Vec<u32>,
    /// The places of the self-loops among the edges given, ascending.
    loops: Vec<u32>,
}

/// The nodes of an item, each with the range of its incoming edges.
#[derive(Debug, Clone)]
pub(crate) struct Rows<'a> {
    graph: &'a Graph,
    nodes: Range<usize>,
    row: usize,
}

impl Iterator for Rows<'_> {
    type Item = (usize, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let node = self.nodes.next()?;
        let row = self.row;
        if self.graph.targets.get(row).is_none_or(|&target| target as usize != node) {
            return Some((node, 0..0));
        }
        self.row += 1;
        Some((node, self.graph.row(row)))
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
        if source.len() != target.len() {
            let expected = format!("as many nodes as source has, {}", source.len());
            return Err(Error::shape("target", expected, target.len()));
        }
        let is_node = |&node: &i32| usize::try_from(node).is_ok_and(|node| node < nodes);
        for edge in 0..source.len() {
            for (side, ends) in [("source", source), ("target", target)] {
                if !is_node(&ends[edge]) {
                    return Err(no_node(side, edge, nodes, ends[edge]));
                }
            }
        }
        let edges = sorted_by(target, nodes)?;
        let mut sources = try_zeroed("graph", edges.len())?;
        let (mut rows, mut last) = (0, None);
        for (place, &edge) in sources.iter_mut().zip(&edges) {
            let edge = edge as usize;
            *place = source[edge] as u32;
            rows += usize::from(last.replace(target[edge]) != Some(target[edge]));
        }
        let (mut targets, mut starts) = (try_zeroed("graph", rows)?, try_zeroed("graph", rows + 1)?);
        let mut row = 0;
        for (place, &edge) in edges.iter().enumerate() {
            let node = target[edge as usize] as u32;
            if row == 0 || targets[row - 1] != node {
                (targets[row], starts[row]) = (node, place as u32);
                row += 1;
            }
        }
        starts[rows] = edges.len() as u32;
        let is_loop = |&edge: &usize| source[edge] == target[edge];
        let count = (0..edges.len()).filter(is_loop).count();
        let mut loops = try_zeroed("graph", count)?;
        for (place, edge) in loops.iter_mut().zip((0..edges.len()).filter(is_loop)) {
            *place = edge as u32;
        }
        Ok(Self { nodes, targets, starts, sources, edges, loops })
    }

    /// How many nodes there are.
    pub fn num_nodes(&self) -> usize {
        self.nodes
    }

    /// How many edges there are.
    pub fn num_edges(&self) -> usize {
        self.edges.len()
    }

    /// How many edges lead from a node to itself.
    pub fn num_self_loops(&self) -> usize {
        self.loops.len()
    }

    /// Writes the number of incoming edges of each node.
    ///
    /// # Errors
    /// `SHAPE` if `output` holds not one number a node.
    pub fn in_degrees(&self, output: &mut [i32]) -> Result<()> {
        check_output("output", output, self.nodes)?;
        output.fill(0);
        for (row, &target) in self.targets.iter().enumerate() {
            output[target as usize] = self.row(row).len() as i32;
        }
        Ok(())
    }

    /// The graph's sizes as a JSON object.
    pub fn to_json(&self) -> String {
        let (nodes, edges, loops) = (self.nodes, self.edges.len(), self.loops.len());
        format!("{{\"numNodes\":{nodes},\"numEdges\":{edges},\"numSelfLoops\":{loops}}}")
    }

    /// Where the edges of a row lie.
    pub(crate) fn row(&self, row: usize) -> Range<usize> {
        self.starts[row] as usize..self.starts[row + 1] as usize
    }

    /// How many work items there are.
    pub(crate) fn items(&self) -> usize {
        (self.nodes + self.edges.len()).div_ceil(ITEM)
    }

    /// The nodes of a work item; every node belongs to one.
    pub(crate) fn rows(&self, item: usize) -> Rows<'_> {
        let (first, row) = self.boundary(item * ITEM);
        Rows { graph: self, nodes: first..self.boundary((item + 1) * ITEM).0, row }
    }

    /// The rows with edges of a work item.
    pub(crate) fn rows_with_edges(&self, item: usize) -> Range<usize> {
        self.boundary(item * ITEM).1..self.boundary((item + 1) * ITEM).1
    }

    /// The first node, and the first row at or after it, that so many nodes and edges lie before.
    fn boundary(&self, cost: usize) -> (usize, usize) {
        let (mut row, mut end) = (0, self.targets.len());
        while row < end {
            let middle = usize::midpoint(row, end);
            let before = self.targets[middle] as usize + self.starts[middle] as usize;
            (row, end) = if before < cost { (middle + 1, end) } else { (row, middle) };
        }
        let earliest = row.checked_sub(1).map_or(0, |last| self.targets[last] as usize + 1);
        (cost.saturating_sub(self.starts[row] as usize).clamp(earliest, self.nodes), row)
    }
}

#[cold]
fn no_node(side: &str, edge: usize, nodes: usize, node: i32) -> Error {
    let expected = match nodes.checked_sub(1) {
        Some(last) => format!("a node from 0 to {last}"),
        None => "no edge, as there is no node".to_owned(),
    };
    Error::option(format!("{side}[{edge}]"), expected, node)
}

/// The numbers of the edges in the order of their targets, those of one target in the order given.
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
        assert_eq!((graph.targets.as_slice(), graph.starts.as_slice()), (&[1, 4][..], &[0, 3, 6][..]));
        assert_eq!(graph.sources, [3, 3, 1, 0, 0, 4]);
        assert_eq!(graph.edges, [0, 2, 3, 1, 4, 5]);
        assert_eq!(graph.loops, [3, 5]);
        let mut degrees = [7; 6];
        graph.in_degrees(&mut degrees).unwrap();
        assert_eq!(degrees, [0, 3, 0, 0, 3, 0]);
        let rows: Vec<_> = graph.rows(0).collect();
        assert_eq!(rows, [(0, 0..0), (1, 0..3), (2, 0..0), (3, 0..0), (4, 3..6), (5, 0..0)]);
    }

    #[test]
    fn items_cover_every_node_and_every_row_once() {
        for (nodes, edges, spread) in
            [(0, 0, 1), (1, 0, 1), (1, 9000, 1), (9000, 1, 1), (5000, 30_000, 7), (3, 12_000, 3), (100_000, 50, 999)]
        {
            let target: Vec<i32> = (0..edges).map(|edge| ((edge * edge * spread) % nodes.max(1)) as i32).collect();
            let graph = Graph::from_edges(nodes, &vec![0; edges], &target).unwrap();
            let rows: Vec<_> = (0..graph.items()).flat_map(|item| graph.rows(item)).collect();
            assert!(rows.iter().map(|(node, _)| *node).eq(0..nodes), "{nodes} {edges}");
            assert_eq!(rows.iter().map(|(_, edges)| edges.len()).sum::<usize>(), edges);
            let with_edges = (0..graph.items()).flat_map(|item| graph.rows_with_edges(item));
            assert!(with_edges.eq(0..graph.targets.len()), "{nodes} {edges}");
        }
    }

    #[test]
    fn a_graph_of_nearly_two_to_the_31_nodes_costs_what_its_edges_cost() {
        let nodes = Graph::MOST_NODES;
        let last = nodes as i32 - 1;
        let graph = Graph::from_edges(nodes, &[last, 0, 5], &[last, last, 1 << 22]).unwrap();
        assert_eq!(graph.targets, [1 << 22, last as u32]);
        assert_eq!(graph.row(1), 1..3);
    }

    #[test]
    fn an_edge_that_names_no_node_is_told_by_its_index() {
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
