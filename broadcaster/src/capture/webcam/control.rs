//! What can be turned on a camera: brightness, focus, exposure and the like.

use std::fmt;

use super::Error;

/// One thing that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Its name as it is typed: small letters, digits and `_`.
    pub name: String,
    /// The driver's number for it.
    pub id: u32,
    /// What it takes.
    pub kind: Kind,
    /// What it is set to; `None` if that cannot be read.
    pub value: Option<i64>,
}

/// What a control takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Number {
        /// The least.
        least: i64,
        /// The most.
        most: i64,
        /// From one to the next.
        step: i64,
    },
    /// On or off.
    Switch,
    /// One of these, by number or name.
    Menu(Vec<(i64, String)>),
}

/// A control's number and the value for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The driver's number for the control.
    pub id: u32,
    /// What to set.
    pub value: i64,
    /// Whether the control is a switch, which some systems treat apart.
    pub is_switch: bool,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number {
                least,
                most,
                step: 1,
            } => write!(f, "{least} to {most}"),
            Self::Number { least, most, step } => write!(f, "{least} to {most} by {step}"),
            Self::Switch => f.write_str("on or off"),
            Self::Menu(items) => {
                let items: Vec<_> = items
                    .iter()
                    .map(|(n, name)| format!("{n} {name}"))
                    .collect();
                f.write_str(&items.join(", "))
            }
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.kind)?;
        let Some(value) = self.value else {
            return Ok(());
        };
        match (&self.kind, value) {
            (Kind::Switch, 0) => f.write_str("; now off"),
            (Kind::Switch, _) => f.write_str("; now on"),
            _ => write!(f, "; now {value}"),
        }
    }
}

/// A driver's name for a control as it is typed: `White Balance, Automatic` becomes
/// `white_balance_automatic`.
#[must_use]
pub fn typed_name(name: &str) -> String {
    let words = name.split(|char: char| !char.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join("_").to_ascii_lowercase()
}

/// The settings that were typed as pairs of name and value, in their order.
///
/// # Errors
/// For a control that is not there and for a value it does not take.
pub fn resolve(
    device: &str,
    typed: &[(String, String)],
    controls: &[Control],
) -> Result<Vec<Setting>, Error> {
    typed
        .iter()
        .map(|(name, value)| {
            let wanted = typed_name(name);
            let control = controls.iter().find(|control| control.name == wanted);
            let control = control.ok_or_else(|| Error::NoSuchControl {
                device: device.to_owned(),
                name: name.clone(),
                there: listed(controls),
            })?;
            let value = parse(&control.kind, value).ok_or_else(|| Error::ControlValue {
                device: device.to_owned(),
                control: control.to_string(),
                value: value.clone(),
            })?;
            Ok(Setting {
                id: control.id,
                value,
                is_switch: control.kind == Kind::Switch,
            })
        })
        .collect()
}

fn listed(controls: &[Control]) -> String {
    let controls: Vec<_> = controls.iter().map(Control::to_string).collect();
    if controls.is_empty() {
        return "none".to_owned();
    }
    controls.join("\n  ")
}

fn parse(kind: &Kind, text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let number = text.parse().ok();
    match kind {
        Kind::Number { least, most, .. } => number.filter(|n| (least..=most).contains(&n)),
        Kind::Switch => match &*text {
            "on" | "true" | "yes" | "1" => Some(1),
            "off" | "false" | "no" | "0" => Some(0),
            _ => None,
        },
        Kind::Menu(items) => {
            let item = items
                .iter()
                .find(|(value, name)| number == Some(*value) || name.to_ascii_lowercase() == text);
            item.map(|(value, _)| *value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controls() -> Vec<Control> {
        let control = |id, name: &str, kind, value| Control {
            name: typed_name(name),
            id,
            kind,
            value: Some(value),
        };
        let number = Kind::Number {
            least: -64,
            most: 64,
            step: 1,
        };
        let menu = Kind::Menu(vec![(1, "Manual Mode".into()), (3, "Auto".into())]);
        vec![
            control(1, "Brightness", number, 0),
            control(2, "White Balance, Automatic", Kind::Switch, 1),
            control(3, "Auto Exposure", menu, 3),
        ]
    }

    fn settings(line: &str) -> Result<Vec<(u32, i64)>, String> {
        let pairs = line
            .split_whitespace()
            .map(|pair| pair.split_once('=').unwrap());
        let typed: Vec<_> = pairs
            .map(|(n, v)| (n.to_owned(), v.replace('~', " ")))
            .collect();
        let settings = resolve("webcam", &typed, &controls()).map_err(|error| error.to_string())?;
        Ok(settings.iter().map(|s| (s.id, s.value)).collect())
    }

    #[test]
    fn names_and_values_are_found_as_people_type_them() {
        let typed = "brightness=-64 White_Balance_Automatic=off auto_exposure=manual~mode";
        assert_eq!(settings(typed), Ok(vec![(1, -64), (2, 0), (3, 1)]));
        assert_eq!(settings("auto-exposure=3"), Ok(vec![(3, 3)]));
        assert_eq!(settings(""), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_set_is_said_with_what_can() {
        let unknown = settings("sharpness=1").unwrap_err();
        for control in controls() {
            assert!(unknown.contains(&control.to_string()), "{unknown}");
        }
        for (typed, right) in [
            ("brightness=65", "-64 to 64"),
            ("brightness=half", "-64 to 64"),
            ("white_balance_automatic=2", "on or off; now on"),
            ("auto_exposure=2", "1 Manual Mode, 3 Auto; now 3"),
        ] {
            let complaint = settings(typed).unwrap_err();
            assert!(complaint.contains(right), "{typed}: {complaint}");
        }
    }
}
