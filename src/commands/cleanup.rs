//! `ringlead cleanup`: removes what a dead daemon left on the node.

use crate::out;
use ringlead_control::config;
use ringlead_control::lock::InstanceLock;
use ringlead_control::net::Net;
use ringlead_io::device::device_facts;
use ringlead_io::steer;
use std::path::Path;
use std::process::ExitCode;

/// Detaches programs, removes pins and service addresses; refuses while a daemon lives.
pub(crate) fn cleanup(path: &Path) -> ExitCode {
    match clean(path) {
        Ok(removed) => {
            for what in &removed {
                out::line(what);
            }
            if removed.is_empty() {
                out::line("nothing to clean up");
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("ringlead cleanup: {why}");
            ExitCode::FAILURE
        }
    }
}

fn clean(path: &Path) -> Result<Vec<String>, String> {
    let (config, _) = config::load(path).map_err(|diagnostics| diagnostics.to_string())?;
    let _lock = InstanceLock::take(&config.node.state_dir).map_err(|e| e.to_string())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let devices: Vec<u32> = config
        .ports
        .iter()
        .filter_map(|port| device_facts(&port.device).ok())
        .map(|facts| facts.ifindex)
        .collect();
    // Addresses first: without the program, the kernel would answer for them.
    let mut removed = runtime.block_on(remove_addresses(&devices))?;
    removed.extend(steer::cleanup(&config.node.bpf_dir).map_err(|e| e.to_string())?);
    Ok(removed)
}

async fn remove_addresses(devices: &[u32]) -> Result<Vec<String>, String> {
    let (net, _events) = Net::open().map_err(|e| e.to_string())?;
    let ours = net.our_addresses().await.map_err(|e| e.to_string())?;
    let links = net.links().await.map_err(|e| e.to_string())?;
    let on_one = links.iter().filter(|link| link.vlan.is_some_and(|vlan| devices.contains(&vlan.parent)));
    let devices: Vec<u32> = devices.iter().copied().chain(on_one.map(|link| link.ifindex)).collect();
    let mut removed = Vec::new();
    for (ifindex, ip) in ours.into_iter().filter(|(ifindex, _)| devices.contains(ifindex)) {
        net.remove_address(ifindex, ip).await.map_err(|e| e.to_string())?;
        removed.push(format!("removed service address {ip}"));
    }
    Ok(removed)
}
