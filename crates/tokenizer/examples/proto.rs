use kiln_tokenizer::*;
use std::path::*;
use std::time::Instant;
fn find(f:&Path,o:&mut Vec<PathBuf>){ for e in std::fs::read_dir(f).unwrap(){let p=e.unwrap().path(); if p.is_dir(){find(&p,o)} else if p.extension().is_some_and(|e|["c","cc","cpp","cxx","h","hh","hpp","hxx","inc"].iter().any(|s|e==*s)){o.push(p)}}}
fn main(){
 let ps=["leveldb","fmtlib","nlohmann-json3","rocksdb"]; let cl=[239881f64,264576.,857177.,5446629.];
 let docs:Vec<Vec<Vec<u8>>>=ps.iter().map(|p|{let mut v=vec![];find(&Path::new("/tmp/corpus").join(p),&mut v);v.sort();v.iter().map(|p|std::fs::read(p).unwrap()).collect()}).collect();
 for kind in Kind::ALL { let mut r=vec![];
  for h in 0..4 { let tr:Vec<&[u8]>=docs.iter().enumerate().filter(|(i,_)|*i!=h).flat_map(|(_,d)|d.iter().map(|x|&x[..])).collect();
   let t=match Tokenizer::train(kind,&tr,32768){Ok(t)=>t,Err(Error::VocabTooLarge{available,..})=>{print!("only {available} ");Tokenizer::train(kind,&tr,available).unwrap()},Err(e)=>panic!("{e}")};
   let n:usize=t.encode_documents(&docs[h]).iter().map(|x|x.len()).sum(); r.push(n as f64/cl[h]); 
   let s=t.stats(&docs[h],0); print!("{} {} used {}; ",ps[h],n,s.used_ids);}
  println!("\n{kind} {:?}",r);
  let all:Vec<&[u8]>=docs.iter().flatten().map(|x|&x[..]).collect(); let bytes:usize=all.iter().map(|x|x.len()).sum();
  for _ in 0..3 { let s=Instant::now(); let t=Tokenizer::train(kind,&all,32768).unwrap(); let tt=s.elapsed(); let s=Instant::now(); t.encode_documents(&all); println!("train {:.3} enc {:.1} MB/s",tt.as_secs_f64(),bytes as f64/1e6/s.elapsed().as_secs_f64()); }
 }
}
