//! Figures as SVG and PNG. Colours can be told apart by colour-blind readers, markers without any.

use kuva::backend::png::PngBackend;
use kuva::backend::svg::SvgBackend;
use kuva::plot::scatter::MarkerShape;
use kuva::plot::{LegendEntry, LegendShape, LinePlot, ScatterPlot};
use kuva::render::figure;
use kuva::render::layout::Layout;
use kuva::render::plots::Plot;
use kuva::render::render::Scene;

use super::{Figure, Line, Panel, Scale};

/// After Okabe and Ito, "Color Universal Design" (2008), without yellow, which is too light for lines.
const COLOURS: [&str; 7] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
];
/// Of a panel, in pixels: alone in its row, with many others, and with few.
const ALONE: (f64, f64) = (820.0, 330.0);
const NARROW: (f64, f64) = (290.0, 250.0);
const WIDE: (f64, f64) = (470.0, 330.0);
/// More columns than this are narrow.
const FEW_COLUMNS: usize = 2;
/// Room beyond the largest value, as a factor: for a marker, and for more on a logarithmic axis.
const HEADROOM: f64 = 1.06;
const LOG_HEADROOM: f64 = 1.5;
/// Below this ratio of the largest value to the smallest a logarithmic axis has hardly a tick.
const WIDE_RANGE: f64 = 10.0;
/// Of lines and markers, in pixels.
const STROKE: f64 = 1.8;
const MARKER: f64 = 4.0;
/// As colours, for those who print in black and white.
const MARKERS: [MarkerShape; 5] = [
    MarkerShape::Circle,
    MarkerShape::Square,
    MarkerShape::Triangle,
    MarkerShape::Diamond,
    MarkerShape::TriangleDown,
];

/// A figure that was drawn.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// For pages.
    pub svg: String,
    /// For everything else, at twice its size.
    pub png: Vec<u8>,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("{figure} not drawn: {reason}")]
pub struct Error {
    figure: String,
    reason: String,
}

/// Draws it.
///
/// # Errors
/// If it has no panels, or the picture cannot be packed.
pub fn draw(figure: &Figure) -> Result<Drawn, Error> {
    let failed = |reason: String| Error {
        figure: figure.name.clone(),
        reason,
    };
    if figure.panels.is_empty() || figure.columns == 0 {
        return Err(failed("it is empty".to_owned()));
    }
    let scene = scene(figure);
    Ok(Drawn {
        svg: SvgBackend::default().render_scene(&scene),
        png: PngBackend::new().render_scene(&scene).map_err(failed)?,
    })
}

fn scene(figure: &Figure) -> Scene {
    let rows = figure.panels.len().div_ceil(figure.columns);
    let (width, height) = match figure.columns {
        1 => ALONE,
        ..=FEW_COLUMNS => WIDE,
        _ => NARROW,
    };
    let plots = figure.panels.iter().map(plots).collect();
    let layouts = (0..figure.panels.len())
        .map(|at| layout(figure, at))
        .collect();
    figure::Figure::new(rows, figure.columns)
        .with_title(figure.title.clone())
        .with_plots(plots)
        .with_layouts(layouts)
        .with_cell_size(width, height)
        .with_shared_legend_bottom()
        .with_shared_legend_entries(legend(figure))
        .render()
}

/// Each name once, in the order of colours.
fn legend(figure: &Figure) -> Vec<LegendEntry> {
    let lines = || figure.panels.iter().flat_map(|panel| &panel.lines);
    let has_markers = lines().any(|line| !line.band.is_empty());
    let mut names: Vec<_> = lines()
        .map(|line| (line.colour, line.name.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    let entry = |(index, name): (usize, &str)| LegendEntry {
        label: name.to_owned(),
        color: COLOURS[index % COLOURS.len()].to_owned(),
        shape: if has_markers {
            LegendShape::Marker(MARKERS[index % MARKERS.len()])
        } else {
            LegendShape::Line
        },
        dasharray: None,
    };
    let mut legend: Vec<_> = names.into_iter().map(entry).collect();
    if lines().any(|line| !line.invalid.is_empty()) {
        legend.push(LegendEntry {
            label: "below 99.9 % delivered".to_owned(),
            color: "#555555".to_owned(),
            shape: LegendShape::Marker(MarkerShape::Cross),
            dasharray: None,
        });
    }
    legend
}

fn plots(panel: &Panel) -> Vec<Plot> {
    panel.lines.iter().flat_map(plots_of).collect()
}

/// The line, its band, and its points.
fn plots_of(line: &Line) -> Vec<Plot> {
    let colour = COLOURS[line.colour % COLOURS.len()];
    let stroke = LinePlot::new()
        .with_data(line.points.clone())
        .with_color(colour)
        .with_stroke_width(STROKE);
    if line.band.is_empty() {
        return vec![Plot::Line(stroke)];
    }
    let is_valid = |point: &&(f64, f64)| !line.invalid.contains(point);
    let points = |points: Vec<(f64, f64)>, marker, size| {
        let points = ScatterPlot::new().with_data(points).with_color(colour);
        Plot::Scatter(points.with_marker(marker).with_size(size))
    };
    let valid = line.points.iter().filter(is_valid).copied().collect();
    let marker = MARKERS[line.colour % MARKERS.len()];
    let (low, high) = (
        line.band.iter().map(|ends| ends.0),
        line.band.iter().map(|ends| ends.1),
    );
    vec![
        Plot::Line(stroke.with_band(low, high)),
        points(valid, marker, MARKER),
        points(line.invalid.clone(), MarkerShape::Cross, 1.5 * MARKER),
    ]
}

/// Axes of a panel. Labels are where they are needed: at the left, at the bottom, at the top.
fn layout(figure: &Figure, at: usize) -> Layout {
    let panel = &figure.panels[at];
    let (row, column) = (at / figure.columns, at % figure.columns);
    let mut layout = Layout::auto_from_plots(&plots(panel))
        .with_label_size(12)
        .with_tick_size(11)
        .with_title_size(13);
    if row == 0 && !panel.title.is_empty() {
        layout = layout.with_title(panel.title.clone());
    }
    // Panels of a row are compared: they have the same axis if they show the same thing.
    let mut rows = figure.panels.chunks(figure.columns);
    let beside = rows.nth(row).unwrap_or_default();
    let alike: Vec<_> = beside.iter().filter(|other| other.y == panel.y).collect();
    let across = Range::of(&[panel], |point| point.0);
    let up = Range::of(&alike, |point| point.1);
    if panel.x.scale == Scale::Logarithmic {
        layout = layout
            .with_log_x()
            .with_x_axis_min(across.least / LOG_HEADROOM)
            .with_x_axis_max(across.most * LOG_HEADROOM);
    } else {
        layout = layout
            .with_x_axis_min(before_zero(panel, &across))
            .with_x_axis_max(HEADROOM * across.most);
    }
    layout = if panel.y.scale == Scale::Logarithmic && up.is_wide() {
        (layout.with_log_y())
            .with_y_axis_min(up.least / LOG_HEADROOM)
            .with_y_axis_max(up.most * LOG_HEADROOM)
    } else {
        layout
            .with_y_axis_min(0.0)
            .with_y_axis_max(HEADROOM * up.most)
    };
    if column == 0 || alike.len() < 2 {
        layout = layout.with_y_label(panel.y.label.clone());
    }
    let below = figure.panels.get(at + figure.columns);
    if figure.columns <= FEW_COLUMNS || below.is_none_or(|below| below.x != panel.x) {
        layout = layout.with_x_label(panel.x.label.clone());
    }
    layout
}

/// Where an even axis begins: at zero, or as much before as a marker there needs to be whole.
fn before_zero(panel: &Panel, across: &Range) -> f64 {
    let has_markers = panel.lines.iter().any(|line| !line.band.is_empty());
    if has_markers && across.least <= 0.0 {
        (1.0 - HEADROOM) * across.most
    } else {
        0.0
    }
}

/// Between which numbers the points of some panels lie.
struct Range {
    least: f64,
    most: f64,
}

impl Range {
    /// Whether a logarithmic axis has ticks enough to be read.
    fn is_wide(&self) -> bool {
        self.most / self.least >= WIDE_RANGE
    }

    fn of(panels: &[&Panel], of: fn((f64, f64)) -> f64) -> Self {
        let lines = panels.iter().flat_map(|panel| &panel.lines);
        let points = lines.flat_map(|line| {
            let ends = line.points.iter().zip(&line.band);
            let ends = ends.flat_map(|((x, _), (low, high))| [(*x, *low), (*x, *high)]);
            line.points.iter().copied().chain(ends)
        });
        let empty = Self {
            least: f64::INFINITY,
            most: f64::MIN_POSITIVE,
        };
        points.map(of).fold(empty, |range, value| Self {
            least: range.least.min(value),
            most: range.most.max(value),
        })
    }
}
