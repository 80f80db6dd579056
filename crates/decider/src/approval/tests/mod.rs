mod audit;
mod chain;
mod desk;
mod edges;
mod forged;
mod laws;
