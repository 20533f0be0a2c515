//! The curves as an SVG: a panel for each thing that grows, the cost at each size as a multiple of the cost at the
//! smallest, and in grey what is allowed. Colours on nothing, so that it can be read on a light page and on a dark one.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{Growth, log};
use crate::figure::number;

const GREY: RGBColor = RGBColor(0x80, 0x80, 0x80);
const COLOURS: [RGBColor; 9] = [
    RGBColor(0x2a, 0x7f, 0xd4),
    RGBColor(0xd9, 0x6b, 0x1e),
    RGBColor(0x2f, 0x9e, 0x5a),
    RGBColor(0xb0, 0x4f, 0xc4),
    RGBColor(0xc9, 0x3a, 0x4b),
    RGBColor(0x1a, 0xa5, 0xa5),
    RGBColor(0xa8, 0x8a, 0x1c),
    RGBColor(0x8a, 0x6a, 0x55),
    RGBColor(0xe0, 0x6c, 0xa0),
];
const SIZE: (u32, u32) = (900, 960);

/// Draws them.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn draw(path: &Path, grown: &[Growth]) -> Result<()> {
    panels(path, grown).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn panels(path: &Path, grown: &[Growth]) -> Result<(), Box<dyn std::error::Error>> {
    let font = |size: u32| ("sans-serif", size).into_font().color(&GREY);
    let page = SVGBackend::new(path, SIZE).into_drawing_area();
    let area = page.titled(
        "What one costs, as a multiple of what it costs at the smallest size",
        font(18),
    )?;
    for (growth, panel) in grown.iter().zip(area.split_evenly((grown.len(), 1))) {
        let sizes: Vec<f64> = growth.sizes.iter().map(|size| *size as f64).collect();
        let (Some(least), Some(most)) = (sizes.first(), sizes.last()) else {
            continue;
        };
        // A point is a decade apart from the next: they are labelled themselves.
        let along = |size: f64| (size / least).log10() / (most / least).log10();
        let allowed: Vec<f64> = growth
            .sizes
            .iter()
            .map(|size| log(*size) / log(growth.sizes[0]))
            .collect();
        let highest = growth
            .curves
            .iter()
            .flat_map(|curve| curve.costs())
            .chain(allowed.clone());
        let highest = highest.fold(1.0, f64::max) * 1.08;
        let mut chart = ChartBuilder::on(&panel)
            .caption(growth.what, font(15))
            .margin(8)
            .margin_right(250)
            .x_label_area_size(24)
            .y_label_area_size(48)
            .build_cartesian_2d(-0.03..1.03, 0.0..highest)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .bold_line_style(GREY.mix(0.25))
            .light_line_style(TRANSPARENT)
            .axis_style(GREY)
            .label_style(font(12))
            .y_labels(5)
            .y_label_formatter(&|cost| format!("{cost:.1}"))
            .draw()?;
        let plain = |at: f64, cost: f64| chart.plotting_area().map_coordinate(&(at, cost));
        for size in &sizes {
            let (x, y) = plain(along(*size), 0.0);
            let label = Text::new(number(*size), (x - 18, y + 8), font(12));
            on(&page, label)?;
        }
        let lines = growth
            .curves
            .iter()
            .zip(COLOURS)
            .map(|(curve, colour)| (curve.name, curve.costs(), colour));
        let lines = lines.chain(std::iter::once(("allowed: ln(1 + n)", allowed, GREY)));
        let lines: Vec<_> = lines.collect();
        let (right, top) = plain(1.03, highest);
        for (at, (name, costs, colour)) in lines.into_iter().enumerate() {
            let points: Vec<(f64, f64)> = sizes
                .iter()
                .map(|size| along(*size))
                .zip(costs.iter().copied())
                .collect();
            let wide = if colour == GREY { 4 } else { 2 };
            chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(wide)))?;
            chart.draw_series(
                points
                    .into_iter()
                    .map(|point| Circle::new(point, 3, colour.filled())),
            )?;
            let below = top + 8 + i32::try_from(at)? * 20;
            let mark = Rectangle::new([(right + 12, below), (right + 30, below + 4)], colour.filled());
            on(&page, mark)?;
            let last = costs.last().copied().unwrap_or_default();
            on(
                &page,
                Text::new(format!("{name}: {last:.2}"), (right + 36, below - 4), font(13)),
            )?;
        }
    }
    page.present()?;
    Ok(())
}

/// Draws by the picture's own pixels.
fn on<'a, E>(
    page: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    element: E,
) -> Result<(), Box<dyn std::error::Error>>
where
    for<'b> &'b E: plotters::element::PointCollection<'b, (i32, i32)>,
    E: plotters::element::Drawable<SVGBackend<'a>>,
{
    page.draw(&element)?;
    Ok(())
}
