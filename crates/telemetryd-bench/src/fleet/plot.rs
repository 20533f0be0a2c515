//! The rates of a fleet as an SVG: a panel for each weather, requests a second over the minutes. Grey and two colours on
//! nothing, so that it can be read on a light page and on a dark one.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{AFTER_MIN, BIN, COMING_MIN, Fleet, Lived, OUTAGE_MIN, STEADY_MIN, Weather};

const GREY: RGBColor = RGBColor(0x80, 0x80, 0x80);
const BLUE: RGBColor = RGBColor(0x2a, 0x7f, 0xd4);
const ORANGE: RGBColor = RGBColor(0xd9, 0x6b, 0x1e);
/// Minutes until the start is over.
const START_MIN: f64 = 3.0;
const SIZE: (u32, u32) = (900, 780);

/// Draws them.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn draw(path: &Path, fleet: &Fleet, lived: &[(Weather, Lived)]) -> Result<()> {
    panels(path, fleet, lived).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn panels(path: &Path, fleet: &Fleet, lived: &[(Weather, Lived)]) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    let title = format!(
        "{} machines, an event every {} s each, {} requests/s at most",
        fleet.machines,
        fleet.between_ms / 1000,
        fleet.capacity
    );
    let font = |size: u32| ("sans-serif", size).into_font().color(&GREY);
    let area = area.titled(&title, font(18))?;
    let end = (STEADY_MIN + OUTAGE_MIN + AFTER_MIN) as f64;
    let back = STEADY_MIN + OUTAGE_MIN;
    for ((weather, lived), panel) in lived.iter().zip(area.split_evenly((lived.len(), 1))) {
        let rates: Vec<(f64, f64)> = lived
            .bins
            .iter()
            .enumerate()
            .map(|(at, bin)| ((at as u64 * BIN) as f64 / 60.0, f64::from(*bin) / BIN as f64))
            .collect();
        // The start is a needle that would press everything else flat: its height is said instead.
        let (start, later): (Vec<_>, Vec<_>) = rates.iter().partition(|(minute, _)| *minute < START_MIN);
        let highest = |rates: &[(f64, f64)]| rates.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
        let (needle, most) = (highest(&start), highest(&later));
        let rates = rates
            .into_iter()
            .map(|(minute, rate)| (minute, rate.min(most * 1.05)));
        let (mean, peak) = lived.return_rates();
        let caption = format!(
            "{}: {needle:.0}/s at the start; after the return {peak:.0}/s at most, {mean:.0}/s at the mean",
            weather.name()
        );
        let mut chart = ChartBuilder::on(&panel)
            .caption(caption, font(15))
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..end, 0.0..most * 1.05)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(GREY)
            .label_style(font(12))
            .axis_desc_style(font(13))
            .x_desc("minutes since all machines were switched on (grey: the endpoint's bad hour)")
            .y_desc("requests a second")
            .x_labels(19)
            .y_labels(5)
            .x_label_formatter(&|minute| format!("{minute:.0}"))
            .y_label_formatter(&|rate| format!("{rate:.0}"))
            .draw()?;
        let bad = [(STEADY_MIN as f64, 0.0), (back as f64, most * 1.05)];
        chart.draw_series([Rectangle::new(bad, GREY.mix(0.2).filled())])?;
        chart.draw_series(LineSeries::new(rates, BLUE.stroke_width(1)))?;
        let line = [(back as f64, mean), ((back + COMING_MIN) as f64, mean)];
        chart.draw_series(LineSeries::new(line, ORANGE.stroke_width(2)))?;
    }
    area.present()?;
    Ok(())
}
