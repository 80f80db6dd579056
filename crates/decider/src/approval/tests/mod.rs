mod desk;
mod edges;
