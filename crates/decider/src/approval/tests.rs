mod audit;
mod audit_all;
mod chain;
mod desk;
mod edges;
mod forged;
mod glance;
mod laws;
