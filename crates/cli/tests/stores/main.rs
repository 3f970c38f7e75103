//! Commands whose inputs and outputs lie in object stores, on web servers and behind `file://`.

#[path = "../cli/kiln.rs"]
#[allow(dead_code, reason = "shared with other test programs")]
mod kiln;
#[path = "../../../store/tests/common/moto.rs"]
#[allow(dead_code, reason = "shared with other test programs")]
mod moto;
mod pipeline;
mod places;
#[path = "../../../store/tests/common/proxy.rs"]
#[allow(dead_code, reason = "shared with other test programs")]
mod proxy;
mod runs;
mod url;
#[path = "../../../store/tests/common/web.rs"]
#[allow(dead_code, reason = "shared with other test programs")]
mod web;
