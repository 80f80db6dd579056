mod chain;
mod desk;
mod edges;
mod laws;
